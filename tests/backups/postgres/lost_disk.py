"""One round of losing a PostgreSQL server with its disk: killed, its data directory deleted, brought back, and counted.

    writers ──commits──▶ server ──log──▶ pg_receivewal ──▶ spool ──▶ store
       └─ remember what was acknowledged     └─ all this is gone       └─ and these, or the store alone, must hold it

A killed process alone proves nothing: what it wrote is still in the page cache. So its files are deleted as well, by chance
before the kill or after it, while writes are under way, and the processes that take the log are killed in the same moment.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from backups.addresses import store_at
from backups.backup import run_backup
from backups.postgres.engine import PostgresEngine
from backups.postgres.restore import restore
from backups.postgres.server import Server, running
from ci.loopback import free_ports
from tests.backups import databases

WRITERS = 8
_PATIENCE_S = 60.0
_SLOT = "gymkhana_wal"


@dataclass(frozen=True, slots=True)
class Loss:
    """What became of the writes: `lost` are acknowledged and not in what came back, oldest first; `kept` all that is."""

    acknowledged: int
    kept: tuple[int, ...]
    lost: tuple[int, ...]
    unsent: tuple[int, ...]
    """What came back and was never sent: always empty, unless what came back is another database."""
    lost_s: float
    """From the acknowledgement of the oldest lost write to that of the newest write of all."""

    def newest_only(self) -> bool:
        """Whether each writer lost its last writes and none before them: what came back is a state that there was."""
        return all(
            max((one for one in self.kept if one % WRITERS == lost % WRITERS), default=-1) < lost for lost in self.lost
        )


def template(directory: Path) -> Path:
    """A stopped server with an empty table, its base backup in a store, and the log received from then on."""
    with running(directory / "pg", free_ports(1)[0]) as server:
        with server.connect() as connection:
            connection.execute("CREATE TABLE writes (id bigint PRIMARY KEY)")
        with _receiving(server, directory, sync=False) as taking:
            engine = PostgresEngine(server.url())
            run_backup(engine, server.url(), store_at(str(directory / "store"), make=True), demonstration=True)
            taking.terminate()
            taking.wait(_PATIENCE_S)
        server.stop()
    return directory


@dataclass(slots=True)
class Scene:
    """A copy of the template at work: its server, whoever takes its log, and the clients that write."""

    root: Path
    server: Server
    taking: subprocess.Popen[bytes]
    acknowledged: dict[int, float] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)
    _writers: list[threading.Thread] = field(default_factory=list)

    def write(self, *, commit: str = "on") -> None:
        """Clients write from now on, each waiting for the answer to one before the next, until the server is gone."""
        self._writers = [threading.Thread(target=self._write, args=(number, commit)) for number in range(WRITERS)]
        for writer in self._writers:
            writer.start()

    def until_acknowledged(self, count: int) -> None:
        """So many more writes are acknowledged, however slow the machine is today."""
        before = len(self.acknowledged)
        databases.wait_until(lambda: len(self.acknowledged) >= before + count, "enough acknowledged", _PATIENCE_S)

    def until_shipped(self) -> None:
        """Something of what is written now is in the store: the receiver has caught up."""
        pieces = self._pieces()
        databases.wait_until(lambda: len(self._pieces()) >= len(pieces) + 2, "the log is in the store", _PATIENCE_S)

    def hold(self) -> None:
        """Whoever takes the log does nothing any more, and nobody has noticed."""
        for pid in (self.taking.pid, *_children(self.taking.pid)):
            os.kill(pid, signal.SIGSTOP)

    def lose(self, dice: random.Random) -> None:
        """The server is killed and its directory deleted, in either order, the receiver killed at some moment of that."""
        receivers = (self.taking.pid, *_children(self.taking.pid))
        for what in dice.sample(["delete", "server", "receiver"], 3):
            if what == "delete":
                shutil.rmtree(self.server.data, ignore_errors=True)
            elif what == "server":
                self.server.kill()
            else:
                for pid in receivers:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(dice.uniform(0, 0.02))
        shutil.rmtree(self.server.data, ignore_errors=True)
        for writer in self._writers:
            writer.join()
        self.taking.wait()

    def counted(self, *, spool: bool = True) -> Loss:
        """What comes back from the store, and from the spool unless that is lost too."""
        taken = self.root / "spool"
        if not spool:
            shutil.rmtree(taken)
        restore(store_at(str(self.root / "store")), self.server.data.resolve(), spool=taken if spool else None)
        self.server.start(synchronous_standby_names="")
        with self.server.connect() as connection:
            kept = tuple(row[0] for row in connection.execute("SELECT id FROM writes ORDER BY id"))
        return compared(self.acknowledged, self.sent, kept)

    def _pieces(self) -> list[Path]:
        return list((self.root / "store").glob("wal/*/*.p*"))

    def _write(self, writer: int, commit: str) -> None:
        with suppress(psycopg.Error), self.server.connect() as connection:
            connection.execute(f"SET synchronous_commit = {commit}")
            number = writer
            while True:
                self.sent.add(number)
                connection.execute("INSERT INTO writes VALUES (%s)", (number,))
                self.acknowledged[number] = time.monotonic()
                number += WRITERS


def compared(acknowledged: dict[int, float], sent: set[int], kept: Sequence[int]) -> Loss:
    """What was acknowledged, each with when, held against what came back."""
    lost = sorted(acknowledged.keys() - set(kept), key=lambda one: acknowledged[one])
    return Loss(
        acknowledged=len(acknowledged),
        kept=tuple(kept),
        lost=tuple(lost),
        unsent=tuple(sorted(set(kept) - sent)),
        lost_s=max(acknowledged.values()) - acknowledged[lost[0]] if lost else 0.0,
    )


@contextmanager
def scene(model: Path, root: Path, *, sync: bool) -> Iterator[Scene]:
    """A copy of the template, running and received from; nothing of it runs after the block."""
    shutil.copytree(model, root, dirs_exist_ok=True)
    server = Server(root / "pg", free_ports(1)[0])
    try:
        server.start()
        with _receiving(server, root, sync=sync) as taking:
            yield Scene(root, server, taking)
    finally:
        server.close()


@contextmanager
def _receiving(server: Server, root: Path, *, sync: bool) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable, "-m", "backups.postgres.receive", "--database", server.url(), "--store", str(root / "store"),
        "--spool", str(root / "spool"), "--slot", _SLOT, "--demonstration", *(["--sync"] if sync else []),
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=databases.ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            wanted = "sync_state = 'sync'" if sync else "state = 'streaming'"
            databases.wait_until(lambda: _streams(server, wanted), "the receiver streams", _PATIENCE_S)
            yield process
        finally:
            for pid in (*_children(process.pid), process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _streams(server: Server, wanted: str) -> bool:
    with server.connect("postgres") as connection:
        row = connection.execute(f"SELECT count(*) FROM pg_stat_replication WHERE {wanted}").fetchone()
    return bool(row and row[0])


def _children(pid: int) -> tuple[int, ...]:
    with suppress(OSError):
        return tuple(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()))
    return ()
