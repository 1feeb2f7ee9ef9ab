"""What guards a stand's database beside its directory store: a second store, keys, a shipped log, a scheduler.

All of it is the real thing, run as an operator would run it: an S3 server, age keys in files, `gymkhana backup watch` and
`gymkhana schedule` as processes of their own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from backups.keys.keyring import generate
from ci.drills import Protection
from ci.object_server import ObjectServer
from ci.stand import Stand

OBJECT_STORE = "object-store"
SCHEDULER = "scheduler"
WATCH = "log-agent"

_COMMAND = (sys.executable, "-m", "ci.cli")


@dataclass(slots=True)
class Guard:
    """The protection of one stand. `prepare` before the service starts; the stand ends all of it."""

    stand: Stand
    protection: Protection
    server: ObjectServer | None = None
    keys: dict[str, str] = field(default_factory=dict)
    """Recipients by the name of their identity file."""

    @property
    def addresses(self) -> list[str]:
        """Every store that backups go to, the directory first; or pgBackRest's repository alone."""
        if self.stand.cluster is not None and self.stand.cluster.stanza is not None:
            return [self.stand.cluster.stanza.address]
        return [str(self.stand.store), *([self.server.address] if self.server else [])]

    @property
    def socket(self) -> Path:
        """Where the log's agent is asked to ship."""
        return self.stand.runtime / "ship.sock"

    def prepare(self) -> None:
        """Stores, keys and the log's agent are there, and the service will be started to ship its log."""
        if self.protection.object_store:
            self.server = ObjectServer(self.stand.directory / "object-store")
            self.stand.environment.update(self.server.environment)
            self.start_object_store()
        if self.protection.encrypted:
            for name in ("right", "wrong"):
                identity, self.keys[name] = generate()
                path = self.identity(name)
                path.touch(mode=0o600)
                path.write_text(f"{identity}\n", "ascii")
        if self.protection.log != "none" and self.stand.cluster is None:
            self.stand.environment["GYM_SHIP"] = str(self.socket)
            self.stand.environment["GYM_SHIP_MODE"] = "sync" if self.protection.log == "synchronous" else "async"

    def start_object_store(self) -> None:
        """The S3 server answers at its address, with whatever it held before."""
        assert self.server is not None
        self.stand.companions.start(OBJECT_STORE, self.server.command(), self.server.environment)
        self.server.wait_ready()

    def start_agents(self) -> None:
        """The log is being shipped, and backups are scheduled, as far as this protection has it."""
        if self.protection.log != "none":
            words = [*self.database(), *self.stores(str(self.stand.store)), *self._arriving(), "--demo"]
            self.stand.companions.start(WATCH, (*_COMMAND, "backup", "watch", *words), self.stand.environment)
        if self.protection.schedule_s is not None:
            every = f"{self.protection.schedule_s:g}s"
            words = [*self.database(), *self.stores(), "--every", every, "--demo"]
            command = (*_COMMAND, "schedule", *words)
            self.stand.companions.start(SCHEDULER, command, self.stand.environment)

    def _arriving(self) -> list[str]:
        """Where the log's agent is asked to ship; or whether a server's commits wait for it."""
        if self.stand.cluster is None:
            return ["--socket", str(self.socket)]
        return ["--sync"] if self.protection.log == "synchronous" else []

    def fence_agents(self) -> None:
        """Nothing beside the service has the database open any more."""
        self.stand.companions.kill(WATCH)
        self.stand.companions.kill(SCHEDULER)

    def identity(self, name: str = "right") -> Path:
        """The file of that identity: the right one, or one that opens nothing here."""
        return self.stand.directory / f"{name}.identity"

    def database(self) -> list[str]:
        """How a command is told the database."""
        return ["--database", self.stand.database_url]

    def stores(self, *addresses: str) -> list[str]:
        """How a command is told the stores: these, or all of them."""
        return [word for address in addresses or self.addresses for word in ("--store", address)]

    def sealing(self) -> list[str]:
        """How a backup is told whom to seal itself to."""
        if not self.protection.encrypted:
            return []
        return ["--recipient", self.keys["right"], "--host-secret", str(self.stand.directory / "host.secret")]

    def opening(self, name: str = "right") -> list[str]:
        """How a restore is told which identity to use."""
        return ["--identity", str(self.identity(name))] if self.protection.encrypted else []

    def close(self) -> None:
        """What a killed server leaves outside the stand is gone."""
        if self.server is not None:
            self.stand.companions.kill(OBJECT_STORE)
            self.server.tidy()
