"""The PostgreSQL server of a stand: a cluster of its own below the run's directory, run as a companion of the service.

<run>/pg/data          the cluster          <run>/pg/server.json   where faults and tools find the server
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from backups.postgres.binaries import binaries
from backups.postgres.server import DATABASE, SUPERUSER, Server
from ci.companions import Companions
from ci.loopback import free_ports

NAME = "postgres"


@dataclass(slots=True)
class Cluster:
    """A server that is made once, and started and killed as often as the story wants, always at the same address."""

    directory: Path
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        self.server = Server(self.directory, free_ports(1)[0], binaries())

    @property
    def url(self) -> str:
        """The database as the service is told it."""
        return self.server.url()

    def build(self, companions: Companions) -> None:
        """The server runs, with an empty database. Raises ServerTrouble."""
        self.server.init()
        self.start(companions)
        self.server.create_database()

    def start(self, companions: Companions) -> None:
        """The server runs and takes connections, with whatever it held before."""
        companions.start(NAME, self.server.command())
        self.server.wait_ready()
        known = {"host": str(self.server.sockets), "port": self.server.port, "user": SUPERUSER, "database": DATABASE}
        (self.directory / "server.json").write_bytes(msgspec.json.encode(known))

    def close(self) -> None:
        """What it left outside its directory is gone."""
        self.server.close()
