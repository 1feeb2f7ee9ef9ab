"""A marked directory with a database, a service, failpoints and a store, and what is known of them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos import service, sqlite_process
from chaos.identity import Identity
from chaos.lease import Leases
from chaos.target import MARKER, Target
from tests.chaos import stand_in

ROOT = Path(__file__).parents[2]
OLDER = "20261123T090000Z-000007-full-sqlite-1f3a"
NEWER = "20261123T080000Z-000008-full-sqlite-0b2c"
"""The newer one by its sequence, though the clock had been set back when it was made."""


def wait_until(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Returns once the condition holds; fails the test when that takes too long."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@dataclass
class Stand:
    directory: Path
    supervisor: subprocess.Popen[bytes] | None = None
    runners: list[subprocess.Popen[str]] = field(default_factory=list)
    companion: subprocess.Popen[bytes] | None = None

    @property
    def target(self) -> Target:
        return Target.at(self.directory)

    @property
    def database(self) -> Path:
        return self.directory / "db" / "gym.db"

    @property
    def leases(self) -> Leases:
        return Leases(self.directory / "leases")

    def build(self) -> None:
        for name in ("db", "failpoints", "store"):
            (self.directory / name).mkdir(parents=True)
        (self.directory / MARKER).touch()
        stand_in.make(self.database)
        for backup in (OLDER, NEWER):
            manifest = self.directory / "store" / "manifests" / f"{backup}.json"
            manifest.parent.mkdir(exist_ok=True)
            manifest.write_text(json.dumps({"id": backup}))
            manifest.with_name(f"{backup}.verified-0001.json").write_text("{}")
            stored = self.object_of(backup)
            stored.parent.mkdir(parents=True)
            stored.write_bytes(hashlib.sha256(backup.encode()).digest() * 200)

    def object_of(self, backup: str) -> Path:
        return self.directory / "store" / "objects" / backup / "database.zst"

    def serve(self) -> None:
        """The stand-in service runs and has acknowledged rows since. An earlier one is over."""
        if self.supervisor is not None:
            self.supervisor.wait()
        self.supervisor = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.stand_in", "supervisor", "--runtime", str(self.target.runtime)],
            cwd=ROOT,
            env=os.environ
            | {stand_in.DATABASE: str(self.database), "GYM_FAILPOINTS": str(self.directory / "failpoints")},
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.wait_for_work()

    def wait_for_work(self) -> None:
        """Returns once every process runs and rows were acknowledged that were not when this was called."""
        before = len(self.acknowledged())
        wait_until(lambda: len(self.processes()) == 3 and len(self.acknowledged()) > before + 5)

    def run(self, name: str, **parameters: Any) -> subprocess.Popen[str]:
        """A runner in a process of its own that has injected the fault, which bit."""
        runner = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.runner", name, json.dumps(parameters), str(self.directory)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.runners.append(runner)
        assert runner.stdout is not None
        assert runner.stdout.readline(), "the fault did not bite"
        return runner

    def close(self) -> None:
        """Nothing of the stand runs any more; fails the test when a lease is left."""
        for runner in self.runners:
            with runner:
                runner.kill()
        if self.companion is not None:
            self.companion.kill()
            self.companion.wait()
        try:
            wait_until(lambda: not self.leases.paths())
        finally:
            if self.supervisor is not None:
                self.supervisor.kill()
                self.supervisor.wait()
                for process in self.processes().values():
                    process.signal(signal.SIGKILL)

    def processes(self) -> dict[str, Identity]:
        return service.living(self.target.runtime)

    def start_companion(self, name: str) -> None:
        """A process beside the service runs and is published; it sleeps."""
        self.companion = subprocess.Popen(["sleep", "600"], start_new_session=True)
        identity = Identity.of(self.companion.pid)
        assert identity is not None
        place = self.directory / "companions"
        place.mkdir(exist_ok=True)
        published = {name: {"pid": identity.pid, "start": identity.created_s}}
        (place / "processes.json").write_text(json.dumps(published))

    def companions(self) -> dict[str, Identity]:
        return service.living(self.directory / "companions")

    def acknowledged(self) -> list[int]:
        return stand_in.acknowledged(self.database)

    def numbers(self) -> set[int]:
        """The rows in the database. For when no fault is about to write to it from this process."""
        connection = stand_in.connect(self.database)
        try:
            return {row[0] for row in connection.execute("SELECT number FROM rows")}
        finally:
            connection.close()

    def sound(self) -> bool:
        """Whether the database is there and whole, as another process sees it."""
        return self.database.exists() and sqlite_process.check(self.database).sound

    def newest_is_whole(self) -> bool:
        stored = self.object_of(NEWER)
        return stored.exists() and stored.read_bytes() == hashlib.sha256(NEWER.encode()).digest() * 200

    def unbroken(self) -> bool:
        """Whether nothing of a fault is left: no lease, nothing stopped, nothing armed, nothing locked or damaged."""
        return (
            not self.leases.paths()
            and not any(process.stopped for process in self.processes().values())
            and not list((self.directory / "failpoints").glob("*.json"))
            and self.newest_is_whole()
            and self.sound()
        )
