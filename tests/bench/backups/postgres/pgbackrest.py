"""pgBackRest as the benchmark uses it: one repository beside the cluster, zstd, two processes, the log archived by it."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backups.postgres.server import DATABASE, SUPERUSER, Server
from tests.backups.databases import wait_until

PROGRAM: Final = "pgbackrest"
STANZA: Final = "bench"
ARCHIVES_WITHIN_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository and its configuration, below `place`."""

    place: Path

    def configure(self, server: Server) -> None:
        """The server archives into it, and it knows the server. The server runs, with `archive_mode` on."""
        for name in ("repository", "lock", "log"):
            (self.place / name).mkdir(parents=True, exist_ok=True)
        self._file(server.data).write_text(self._text(server), "utf-8")
        command = f"{PROGRAM} --config={self._file(server.data)} --stanza={STANZA} archive-push %p"
        self._run(server.data, "stanza-create")
        with server.connect() as connection:
            connection.execute(f"ALTER SYSTEM SET archive_command = '{command}'")
            connection.execute("SELECT pg_reload_conf()")

    def full(self, server: Server) -> None:
        """A full backup, durable in the repository."""
        self._run(server.data, "backup", "--type=full", "--start-fast")

    def archived(self, server: Server, segment: str) -> None:
        """The segment is in the repository."""

        def there() -> bool:
            with server.connect("postgres") as connection:
                row = connection.execute("SELECT last_archived_wal >= %s FROM pg_stat_archiver", (segment,)).fetchone()
            return bool(row and row[0])

        wait_until(there, f"{segment} is in the repository", ARCHIVES_WITHIN_S)

    def restore(self, server: Server, into: Server, *, delta: bool = False) -> None:
        """The newest backup is at `into`'s data directory, told to recover to the end of the archive when it starts."""
        into.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._file(into.data)).write_text(
            self._file(server.data).read_text("utf-8").replace(str(server.data), str(into.data)), "utf-8"
        )
        self._run(into.data, "restore", *(["--delta"] if delta else []))

    def stored_bytes(self) -> int:
        """What the repository's backups take, without the archive."""
        return sum(path.stat().st_size for path in (self.place / "repository" / "backup").rglob("*") if path.is_file())

    def _file(self, data: Path) -> Path:
        return self.place / f"{data.parent.name}.conf"

    def _text(self, server: Server) -> str:
        return (
            f"[global]\nrepo1-path={self.place / 'repository'}\nlock-path={self.place / 'lock'}\n"
            f"log-path={self.place / 'log'}\nprocess-max=2\ncompress-type=zst\ncompress-level=1\n"
            f"log-level-console=error\nrepo1-retention-full=9\n"
            f"[{STANZA}]\npg1-path={server.data}\npg1-port={server.port}\npg1-socket-path={server.sockets}\n"
            f"pg1-user={SUPERUSER}\npg1-database={DATABASE}\n"
        )

    def _run(self, data: Path, verb: str, *words: str) -> None:
        command = [PROGRAM, f"--config={self._file(data)}", f"--stanza={STANZA}", *words, verb]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"pgbackrest {verb} failed: {' '.join((done.stdout + done.stderr).split())}")


def knows(major: int) -> bool:
    """Whether pgBackRest is here, and of a version that knows that PostgreSQL."""
    if shutil.which(PROGRAM) is None:
        return False
    told = subprocess.run([PROGRAM, "version"], capture_output=True, text=True, check=False)
    match = re.search(r"(\d+)\.(\d+)", told.stdout)
    return match is not None and major <= newest_known((int(match[1]), int(match[2])))


def newest_known(version: tuple[int, int]) -> int:
    """The newest major version of PostgreSQL that this version of pgBackRest does not refuse."""
    for known, since in ((18, (2, 57)), (17, (2, 54)), (16, (2, 48)), (15, (2, 41))):
        if version >= since:
            return known
    return 14
