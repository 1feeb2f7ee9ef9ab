"""A database whose log is shipped, with the processes that write it and ship it, and what its store gives back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backups.backup import run_backup
from backups.errors import BackupError
from backups.keys.keyring import Keyring
from backups.log import replay, shipped
from backups.log.points import Newest, Point
from backups.log.shipper import Limits, Place, Shipper
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from tests.backups import databases

POSITION_OF = "operations.sequence"

_WRITER = """
import sys, time
from pathlib import Path
from tests.backups import databases
database = databases.connect(Path(sys.argv[1]))
database.execute("PRAGMA wal_autocheckpoint = 0")
database.execute("PRAGMA synchronous = NORMAL")
pause_s = float(sys.argv[2])
while True:
    databases.insert(database, 1)
    (sequence,) = database.execute("SELECT max(sequence) FROM operations").fetchone()
    sys.stdout.write(f"{sequence} {time.time()}\\n")
    sys.stdout.flush()
    time.sleep(pause_s)
"""


@dataclass
class Stage:
    """A directory with a database in `live/`, a store beside it, and a socket to ask."""

    root: Path
    watching: subprocess.Popen[bytes] | None = None
    written: list[tuple[int, float]] = field(default_factory=list)

    @classmethod
    def make(cls, root: Path, rows: int = 50) -> Stage:
        (root / "live").mkdir(parents=True)
        (root / "store").mkdir()
        databases.make(root / "live" / "gym.db", rows)
        return cls(root)

    @property
    def database(self) -> Path:
        return self.root / "live" / "gym.db"

    @property
    def store(self) -> DirectoryStore:
        return DirectoryStore(self.root / "store")

    @property
    def socket(self) -> Path:
        return self.root / "ship.sock"

    @property
    def said(self) -> Path:
        return self.root / "watch.log"

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What the watching processes said, each line whole."""
        if not self.said.exists():
            return []
        lines = [json.loads(line) for line in self.said.read_text("utf-8").splitlines() if line.startswith("{")]
        return [line for line in lines if name in ("", line["event"])]

    def watch(self, *options: str, module: tuple[str, ...] = ("backups.log.watch",)) -> subprocess.Popen[bytes]:
        """Start shipping, in a process of its own."""
        command = [sys.executable, "-m", *module, "--database", str(self.database), "--store", str(self.root / "store")]
        command += [
            "--socket",
            str(self.socket),
            "--position-of",
            POSITION_OF,
            "--demonstration",
            "--interval-ms",
            "20",
        ]
        with self.said.open("ab") as said:
            self.watching = subprocess.Popen([*command, *options], stderr=said, cwd=databases.ROOT)
        return self.watching

    def status(self) -> dict[str, Any]:
        try:
            return shipped.ask(self.socket, shipped.Asked(status=True))
        except BackupError as error:
            return {"trouble": str(error), "restorable": False, "generation": None, "index": None}

    def until_restorable(self) -> dict[str, Any]:
        """Once what is shipped can be restored."""
        databases.wait_until(lambda: bool(self.status()["restorable"]), "a backup of the generation", 40)
        return self.status()

    def ship(self) -> tuple[str, int]:
        """Everything committed so far is durable in the store on return."""
        answer = shipped.ask(self.socket, shipped.Asked(ship=True))
        return answer["generation"], answer["index"]

    def end_watch(self) -> None:
        """SIGTERM, and wait."""
        assert self.watching is not None
        self.watching.terminate()
        assert self.watching.wait(30) == 0

    def kill_watch(self) -> None:
        assert self.watching is not None
        self.watching.send_signal(signal.SIGKILL)
        self.watching.wait()

    def close(self) -> None:
        if self.watching is not None and self.watching.poll() is None:
            self.kill_watch()

    @contextmanager
    def writing(self, pause_s: float = 0.001) -> Iterator[subprocess.Popen[bytes]]:
        """A process that commits one operation after the other; what it committed is in `written` afterwards."""
        output = self.root / f"written-{time.monotonic_ns()}"
        with output.open("wb") as lines:
            command = [sys.executable, "-c", _WRITER, str(self.database), str(pause_s)]
            process = subprocess.Popen(command, stdout=lines, cwd=databases.ROOT)
        try:
            databases.wait_until(lambda: output.stat().st_size > 0, "the first write")
            yield process
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            for line in output.read_text("ascii").splitlines(keepends=True):
                if line.endswith("\n"):
                    self.written.append((int(line.split()[0]), float(line.split()[1])))

    def truth(self) -> bytes:
        """The database as it is, its log in it. Nobody may have it open."""
        return settled(self.database)

    def replayed(self, point: Point | None = None, keyring: Keyring | None = None) -> Path:
        """The database at that point, from the store alone."""
        plan = replay.plan(self.store, point or Newest(), keyring=keyring)
        return self.built(plan, keyring)

    def built(self, plan: replay.ReplayPlan, keyring: Keyring | None = None) -> Path:
        into = self.root / f"replayed-{time.monotonic_ns()}"
        replay.rebuild(self.store, plan, into, keyring)
        return into


def settled(database: Path) -> bytes:
    """The bytes of a database that nobody has open, with all that was in its log."""
    with closing(databases.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database.read_bytes()


def sequences(path: Path) -> list[int]:
    """The sequences of all operations in a database, in order."""
    with closing(databases.connect(path)) as database:
        return [one for (one,) in database.execute("SELECT sequence FROM operations ORDER BY 1")]


def sound(path: Path) -> bool:
    with closing(databases.connect(path)) as database:
        return [one for (one,) in database.execute("PRAGMA integrity_check")] == ["ok"]


class Ferry:
    """A shipper in this process, with a writer's connection beside it; what it said is kept."""

    def __init__(
        self, stage: Stage, *, limits: Limits | None = None, keyring: Keyring | None = None, **more: Any
    ) -> None:
        self.stage = stage
        self.keyring = keyring or Keyring.plain()
        self.said: list[tuple[str, dict[str, object]]] = []
        self.place: Place | None = None
        self.bases = 0
        self._rounds = 0
        self._gone = threading.Event()
        self.shipper = Shipper(
            stage.database,
            more.pop("store", None) or stage.store,
            more.pop("base", None) or self.base,
            lambda event, **told: self.said.append((event, told)),
            keyring=self.keyring,
            limits=limits,
            position_of=POSITION_OF,
            **more,
        )
        self.writer: Any = databases.connect(stage.database)
        self.writer.execute("PRAGMA wal_autocheckpoint = 0")
        # Until it has read something it does not have the log open, and would not be there when others leave.
        self.writer.execute("SELECT count(*) FROM operations").fetchone()

    def base(self) -> None:
        self.bases += 1
        engine = SqliteEngine(position_of=POSITION_OF)
        run_backup(
            engine,
            str(self.stage.database),
            self.stage.store,
            keyring=self.keyring,
            log=self._shipped_by_now,
            demonstration=True,
        )

    def _shipped_by_now(self) -> tuple[str, int]:
        """As the socket would answer: once the other thread has begun and ended a round of shipping."""
        seen = self._rounds
        while self._rounds < seen + 2:
            if self._gone.wait(0.005):
                raise BackupError("Nobody ships any more.")
        assert self.place is not None
        return self.place.generation, self.place.index

    def ship(self) -> Place:
        self.place = self.shipper.ship()
        self._rounds += 1
        return self.place

    def ready(self) -> Place:
        """Once what is shipped can be restored."""

        def restorable() -> bool:
            with suppress(BackupError):
                place = self.ship()
                self.shipper.tend()
                return place.restorable
            return False

        databases.wait_until(restorable, "a backup of the generation")
        return self.ship()

    def write(self, rows: int = 1) -> None:
        """One commit of that many operations."""
        databases.insert(self.writer, rows)

    def go(self, commits: int, rows: int = 1) -> Place:
        """That many commits, each shipped; checkpoints in between when they are due."""
        for _ in range(commits):
            self.write(rows)
            self.ship()
            self.shipper.tend()
        return self.ship()

    def events(self, name: str) -> list[dict[str, object]]:
        return [told for event, told in self.said if event == name]

    def drop(self) -> None:
        """Gone without a word, as after a kill: the database is let go of, its log stays."""
        self.shipper.close()

    def close(self) -> None:
        self._gone.set()
        thread = self.shipper._base._thread
        if thread is not None:
            thread.join()
        self.writer.close()
        self.shipper.close()


def wait_gone(process: subprocess.Popen[bytes]) -> None:
    """The process died by its own hand, with SIGKILL."""
    assert process.wait(60) == -signal.SIGKILL


def environment(**more: str) -> dict[str, str]:
    return os.environ | more
