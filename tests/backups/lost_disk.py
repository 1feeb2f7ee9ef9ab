"""One round of losing all but the store: the writer and the watching process killed, the database's directory deleted.

    client ──jobs──▶ writer ──commits──▶ database ◀──reads── watch ──segments──▶ store
       └─ remembers what was acknowledged          all this is gone ─┘              └─ and this must hold it

A killed process alone proves nothing: what it wrote is still in the page cache. So its files are deleted as well, by chance
before the kill or after it, while writes are under way.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import system.models
from backups.errors import BackupError
from backups.log import replay, shipped
from backups.log.points import Newest
from backups.stores.directory import DirectoryStore
from system.database import SCHEMA_REVISION, Base, engine_for
from system.jobs import Operation
from system.wire import Ask, Frames, answer, pack, socket_path
from tests.backups import databases
from tests.backups.shipping import POSITION_OF

assert system.models

UNDER_WAY = 16
"""Writes that the client has sent and not heard of, at any moment."""
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Loss:
    """What became of the writes: `lost` are acknowledged and not in what came back, oldest first; `kept` all that is."""

    acknowledged: int
    unknown: int
    kept: int
    lost: tuple[int, ...]
    lost_s: float
    """From the acknowledgement of the oldest lost write to the end."""


def template(directory: Path) -> Path:
    """An empty database at the service's schema."""
    path = directory / "gym.db"
    engine = engine_for(f"sqlite:///{path}", writer=True)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT PRIMARY KEY)")
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{SCHEMA_REVISION}')")
    engine.dispose()
    return path


def lose(
    model: Path,
    root: Path,
    seed: int,
    *,
    mode: str = "sync",
    writer: str = "system.writer",
    interval_ms: int = 500,
    checkpoint_mb: float = 0.3,
) -> Loss:
    """Write, lose the disk, restore from the store, and count."""
    dice = random.Random(seed)
    live, runtime, store = root / "live", root / "run", root / "store"
    for directory in (live, runtime, store):
        directory.mkdir(parents=True)
    database = shutil.copy(model, live / "gym.db")
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{database}",
        "GYM_RUNTIME": str(runtime),
        "GYM_SHIP": str(root / "ship.sock"),
        "GYM_SHIP_MODE": mode,
        "GYM_SHIP_INTERVAL_MS": str(interval_ms),
        "GYM_SHIP_CHECKPOINT_MB": f"{checkpoint_mb}",
        "GYM_SHIP_POSITION_OF": POSITION_OF,
        "GYM_SHIP_DEMONSTRATION": "1",
        "GYM_STORE": str(store),
        "GYM_LOG_LEVEL": "error",
    }
    modules = ("backups.log.watch", writer)
    with (root / "said.log").open("ab") as said:
        processes = [
            subprocess.Popen([sys.executable, "-m", module], env=environment, cwd=databases.ROOT, stderr=said)
            for module in modules
        ]
    try:
        _until_ready(root / "ship.sock", socket_path(runtime))
        client = _Client(socket_path(runtime), seed)
        client.write_until_acknowledged()
        if mode == "async":
            shipped.ask(root / "ship.sock", shipped.Asked(ship=True))
        client.write_for(dice.uniform(0.3, 2.0) if mode == "async" else dice.uniform(0.05, 0.4))
        for what in dice.sample(["delete", "kill"], 2):
            if what == "delete":
                shutil.rmtree(live, ignore_errors=True)
            else:
                for process in processes:
                    process.kill()
            client.write_for(dice.uniform(0, 0.02))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    shutil.rmtree(live, ignore_errors=True)
    client.hear_the_rest()
    return _compared(client, DirectoryStore(store), root / "restored.db")


def _until_ready(ship: Path, writer: Path) -> None:
    def restorable() -> bool:
        try:
            with closing(socket.socket(socket.AF_UNIX)) as connection:
                connection.connect(str(writer))  # its socket is there a moment before it listens
            return bool(shipped.ask(ship, shipped.Asked(status=True))["restorable"])
        except (BackupError, OSError):
            return False

    databases.wait_until(restorable, "a service whose writes are safe", _PATIENCE_S)


class _Client:
    """Sends jobs to the writer's socket, `UNDER_WAY` at a time, and remembers which were acknowledged, and when."""

    def __init__(self, path: Path, seed: int) -> None:
        self.acknowledged: dict[int, float] = {}
        self.refused: set[int] = set()
        self.sent = 0
        self._run = f"r{seed}"
        self._frames = Frames()
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(path))
        self._open = True

    def write_until_acknowledged(self) -> None:
        """Returns with the first answers heard, however slow the machine is today."""
        end_t = time.monotonic() + _PATIENCE_S
        while not self.acknowledged:
            assert self._open, "the writer is gone"
            assert time.monotonic() < end_t, "nothing was acknowledged"
            self.write_for(0.05)

    def write_for(self, seconds: float) -> None:
        end_t = time.monotonic() + seconds
        while self._open and (left := end_t - time.monotonic()) > 0:
            while self._open and self.sent - len(self.acknowledged) - len(self.refused) < UNDER_WAY:
                self._send()
            if self._open and select.select([self._connection], [], [], left)[0]:
                self._hear()

    def hear_the_rest(self) -> None:
        """What had been answered before the end was acknowledged, whoever had read it by then."""
        while self._open:
            self._hear()
        self._connection.close()

    def _send(self) -> None:
        number = self.sent
        operation = Operation(f"{self._run}.{number}", self._run, None, "", 1_700_000_000_000)
        job = Ask(number, "user.sign_up", (f"{self._run}-{number}", "hash"), operation, time.monotonic() + 60)
        try:
            self._connection.sendall(pack(job))
        except OSError:
            self._open = False
            return
        self.sent += 1

    def _hear(self) -> None:
        try:
            data = self._connection.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._open = False
        for frame in self._frames.feed(data):
            got = answer(frame)
            if got.kind:
                self.refused.add(got.number)
            else:
                self.acknowledged[got.number] = time.monotonic()


def _compared(client: _Client, store: DirectoryStore, into: Path) -> Loss:
    replay.rebuild(store, replay.plan(store, Newest()), into)
    with closing(databases.connect(into)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        kept = {int(one.rpartition(".")[2]) for (one,) in database.execute("SELECT id FROM operations WHERE run != ''")}
    lost = tuple(sorted(client.acknowledged.keys() - kept))
    since = min((client.acknowledged[number] for number in lost), default=0.0)
    return Loss(
        acknowledged=len(client.acknowledged),
        unknown=client.sent - len(client.acknowledged),
        kept=len(kept),
        lost=lost,
        lost_s=max(client.acknowledged.values(), default=0.0) - since if lost else 0.0,
    )
