"""A server of each test's own, its store, and what the tests of restores do with them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from backups.addresses import store_at
from backups.backup import run_backup
from backups.format.manifest import Manifest
from backups.keys.keyring import Keyring
from backups.postgres.binaries import installations
from backups.postgres.engine import PostgresEngine
from backups.postgres.server import Server, running
from backups.stores.store import Store
from ci.loopback import free_ports
from tests.backups import databases

POSITION = "operations.sequence"


@dataclass
class Clinic:
    """A running server with a table of operations, a store beside it, and a spool."""

    directory: Path
    server: Server
    store: Store
    keyring: Keyring

    @property
    def spool(self) -> Path:
        return self.directory / "spool"

    @property
    def data(self) -> Path:
        return self.server.data.resolve()

    def write(self, rows: int = 1) -> int:
        """That many operations, each committed alone; the last one's number."""
        last = 0
        with self.server.connect() as connection:
            for _ in range(rows):
                row = connection.execute("INSERT INTO operations DEFAULT VALUES RETURNING sequence").fetchone()
                assert row is not None
                last = row[0]
        return last

    def numbers(self) -> list[int]:
        with self.server.connect() as connection:
            return [row[0] for row in connection.execute("SELECT sequence FROM operations ORDER BY 1")]

    def back_up(self) -> Manifest:
        url = self.server.url()
        engine = PostgresEngine(url, position_of=POSITION)
        return run_backup(engine, url, self.store, keyring=self.keyring, demonstration=True)

    @contextmanager
    def receiving(self, *, sync: bool = False, slot: str = "gymkhana_wal") -> Iterator[subprocess.Popen[bytes]]:
        """The receiver takes the log; it has been asked to end, and has, when the block ends."""
        with self._received(subprocess.PIPE, sync=sync, slot=slot) as process:
            databases.wait_until(lambda: self.streams(slot), "the receiver streams")
            yield process

    @contextmanager
    def begun_receiving(self) -> Iterator[subprocess.Popen[bytes]]:
        """The receiver has been started, whether or not it can take anything; `said` is what it says."""
        with (self.directory / "receiver.log").open("wb") as log, self._received(log) as process:
            yield process

    def said(self) -> str:
        """Everything that the receiver of `begun_receiving` has said."""
        return (self.directory / "receiver.log").read_text()

    @contextmanager
    def _received(
        self, out: int | IO[bytes], *, sync: bool = False, slot: str = "gymkhana_wal"
    ) -> Iterator[subprocess.Popen[bytes]]:
        command = [
            sys.executable, "-m", "backups.postgres.receive", "--database", self.server.url(), "--store", self.store.address,
            "--spool", str(self.spool), "--slot", slot, "--interval-ms", "50", "--demonstration",
            *(word for recipient in self.keyring.recipients for word in ("--recipient", recipient)),
            *(["--host-secret", str(self.keyring.host_secret)] if self.keyring.recipients else []),
            *(["--sync"] if sync else []),
        ]  # fmt: skip
        with subprocess.Popen(command, cwd=databases.ROOT, stderr=out) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    try:
                        process.wait(20)
                    except subprocess.TimeoutExpired:
                        process.kill()

    def retained_bytes(self) -> int:
        """How much log the server keeps for the receiver."""
        with self.server.connect() as connection:
            row = connection.execute(
                "SELECT (pg_current_wal_lsn() - restart_lsn)::bigint FROM pg_replication_slots"
            ).fetchone()
        return int(row[0]) if row and row[0] else 0

    def streams(self, slot: str) -> bool:
        with self.server.connect() as connection:
            row = connection.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", (slot,)).fetchone()
        return bool(row and row[0])

    def shipped(self, names: int = 1) -> bool:
        """Whether the store holds so many parts of the log at least."""
        return len([one for one in self.store.list("wal/") if "key-" not in one.name]) >= names

    def caught_up(self) -> None:
        """Everything that is committed has reached the store."""
        with self.server.connect() as connection:
            row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        assert row is not None
        databases.wait_until(
            lambda: any(one.name.endswith(row[0]) for one in self.store.list("wal/")), f"{row[0]} is in the store"
        )

    def lose(self) -> None:
        """The server and its disk are gone."""
        import shutil

        self.server.kill()
        shutil.rmtree(self.server.data)

    def begin(self) -> None:
        with self.server.connect() as connection:
            connection.execute("CREATE TABLE operations (sequence bigserial PRIMARY KEY, at timestamptz DEFAULT now())")
            connection.execute("CREATE TABLE alembic_version (version_num text PRIMARY KEY)")
            connection.execute("INSERT INTO alembic_version VALUES ('0002')")


@pytest.fixture(params=[one.major for one in installations()])
def clinic(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clinic]:
    """On each major version that there is here."""
    from backups.postgres.binaries import binaries

    with running(tmp_path / "pg", free_ports(1)[0], binaries(request.param)) as server:
        one = Clinic(tmp_path, server, store_at(str(tmp_path / "store"), make=True), Keyring.plain())
        one.begin()
        yield one


@pytest.fixture
def newest(tmp_path: Path) -> Iterator[Clinic]:
    """On the newest version alone: for what is the same on every one."""
    with running(tmp_path / "pg", free_ports(1)[0]) as server:
        one = Clinic(tmp_path, server, store_at(str(tmp_path / "store"), make=True), Keyring.plain())
        one.begin()
        yield one
