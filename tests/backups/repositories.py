"""A server whose backups and log pgBackRest keeps, for the tests of that and for the contract of vaults."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from backups.pgbackrest.program import NoPgBackRest
from backups.pgbackrest.stanza import Stanza, fitting_binaries
from backups.pgbackrest.vault import PgBackRestVault
from backups.postgres.binaries import Binaries
from backups.postgres.server import Server
from backups.progress import silent
from backups.vault import Kind, Made
from ci.loopback import free_ports
from tests.backups import databases

POSITION = "operations.sequence"


def programs() -> Binaries:
    """A PostgreSQL for the pgBackRest here. Skips the test where there is none, saying what to install."""
    try:
        return fitting_binaries()
    except NoPgBackRest as error:
        pytest.skip(str(error))


def begin(server: Server) -> None:
    """The table of operations is there, empty."""
    with server.connect() as connection:
        connection.execute("CREATE TABLE operations (sequence bigserial PRIMARY KEY, at timestamptz DEFAULT now())")


def write(server: Server, rows: int = 1) -> int:
    """That many operations, each committed alone; the last one's number."""
    last = 0
    with server.connect() as connection:
        for _ in range(rows):
            row = connection.execute("INSERT INTO operations DEFAULT VALUES RETURNING sequence").fetchone()
            assert row is not None
            last = row[0]
    return last


def numbers(server: Server) -> list[int]:
    """Every operation that is there."""
    with server.connect() as connection:
        return [row[0] for row in connection.execute("SELECT sequence FROM operations ORDER BY 1")]


@contextmanager
def served(data: Path, like: Server) -> Iterator[Server]:
    """A server on a restored cluster, which archives nothing and is ended after the block."""
    server = Server(data.parent, free_ports(1)[0], like.programs)
    assert server.data == data
    try:
        server.start(archive_mode="off")
        yield server
    finally:
        server.close()


@dataclass
class Ward:
    """The server, its stanza, and the vault that this makes."""

    directory: Path
    server: Server
    stanza: Stanza

    @property
    def vault(self) -> PgBackRestVault:
        return PgBackRestVault(self.stanza.program, self.server.url(), POSITION)

    def back_up(self, kind: Kind = "auto") -> Made:
        return self.vault.back_up(self.server.url(), kind=kind, demonstration=True, pace=None, progress=silent)

    def archived(self) -> None:
        """Everything that is committed is in the repository."""
        with self.server.connect() as connection:
            row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
            assert row is not None
            databases.wait_until(
                lambda: bool(
                    connection.execute(
                        "SELECT 1 FROM pg_stat_archiver WHERE last_archived_wal >= %s", (row[0],)
                    ).fetchone()
                ),
                f"{row[0]} is archived",
            )

    def lose(self) -> None:
        """The server and its disk are gone."""
        self.server.kill()
        shutil.rmtree(self.server.data)

    def stored_file(self, backup: str) -> Path:
        """A file of the backup as it lies in the repository: the largest, which is a part of the database itself."""
        return max((self.stanza.repository / "backup").glob(f"*/{backup}/pg_data/base/*/*"), key=_size)

    def stored_segment(self) -> Path:
        """The newest segment of the log in the repository."""
        return max((self.stanza.repository / "archive").rglob("*-*.lz4"), key=lambda path: path.name)


def damage(path: Path) -> bytes:
    """A byte in the middle of that file is another one; what it was before is returned."""
    before = path.read_bytes()
    middle = len(before) // 2
    path.write_bytes(before[:middle] + bytes([before[middle] ^ 0xFF]) + before[middle + 1 :])
    return before


def _size(path: Path) -> int:
    return path.stat().st_size


@contextmanager
def ward_in(directory: Path) -> Iterator[Ward]:
    """A new server with an empty stanza, running for the block."""
    server = Server(directory / "pg", free_ports(1)[0], programs())
    stanza = Stanza(directory / "pgbackrest", server)
    try:
        server.init()
        stanza.prepare()
        server.start()
        server.create_database()
        stanza.create()
        begin(server)
        yield Ward(directory, server, stanza)
    finally:
        server.close()
