"""The PostgreSQL server of a stand: a cluster of its own below the run's directory, run beside the service, or two.

<run>/pg/data          the cluster          <run>/pg/server.json   where faults and tools find the server
<run>/pgbackrest/      the repository, when pgBackRest keeps its backups
<run>/pg-standby/data  the standby's copy      <run>/proxy/           what the proxy before it is told and has done
"""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psycopg

from backups.pgbackrest.stanza import Stanza, fitting_binaries
from backups.postgres.binaries import binaries
from backups.postgres.server import DATABASE, SUPERUSER, Server, ServerTrouble
from ci.companions import Companions
from ci.loopback import HOST, free_ports

NAME = "postgres"
STANDBY = "standby"
"""What the standby is called: as a process beside the service, as a slot, and as the primary knows it."""
PROXY = "proxy"
FOLLOWS_WITHIN_S = 30.0
ARCHIVE_TIMEOUT_S = 3
"""With pgBackRest a segment of the log is archived when it is full or so old: what is younger is lost with the disk."""
LISTENS_WITHIN_S = 30.0


@dataclass(slots=True)
class Cluster:
    """A server that is made once, and started and killed as often as the story wants, always at the same address."""

    directory: Path
    has_standby: bool = False
    has_proxy: bool = False
    has_pgbackrest: bool = False
    server: Server = field(init=False)
    proxy_port: int = field(init=False)
    standby: Server | None = field(init=False, default=None)
    stanza: Stanza | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        first, second, self.proxy_port = free_ports(3)
        programs = fitting_binaries() if self.has_pgbackrest else binaries()
        self.server = Server(self.directory, first, programs)
        if self.has_pgbackrest:
            self.stanza = Stanza(self.directory.with_name("pgbackrest"), self.server)
        if self.has_standby:
            self.standby = Server(self.directory.with_name(f"{self.directory.name}-{STANDBY}"), second, programs)

    @property
    def url(self) -> str:
        """The database as the service is told it: behind the proxy, or with a standby wherever the primary is."""
        if self.has_proxy:
            return self.server.url().replace(f":{self.server.port}/", f":{self.proxy_port}/")
        return self.server.url(or_at=self.standby.port if self.standby else None)

    def build(self, companions: Companions) -> None:
        """The server runs, with an empty database. Raises ServerTrouble."""
        self.server.init()
        if self.stanza is not None:
            self.stanza.prepare(archive_timeout_s=ARCHIVE_TIMEOUT_S)
        self.start(companions)
        self.server.create_database()
        if self.stanza is not None:
            self.stanza.create()
        if self.has_proxy:
            companions.start(PROXY, (
                sys.executable, "-m", "chaos.proxy", "--directory", str(self.directory.with_name(PROXY)),
                "--port", str(self.proxy_port), "--to-port", str(self.server.port),
            ))  # fmt: skip
            self._wait_for_proxy()

    def _wait_for_proxy(self) -> None:
        end_t = time.monotonic() + LISTENS_WITHIN_S
        while True:
            try:
                socket.create_connection((HOST, self.proxy_port), timeout=1).close()
            except OSError as error:
                if time.monotonic() > end_t:
                    raise ServerTrouble(f"The proxy before the server does not listen: {error}.") from error
                time.sleep(0.02)
            else:
                return

    def start(self, companions: Companions) -> None:
        """The server runs and takes connections, with whatever it held before."""
        companions.start(NAME, self.server.command())
        self.server.wait_ready()
        known = {"host": str(self.server.sockets), "port": self.server.port, "user": SUPERUSER, "database": DATABASE}
        (self.directory / "server.json").write_bytes(msgspec.json.encode(known))

    def follow(self, companions: Companions, *, synchronous: bool) -> None:
        """The standby has all that the primary has, and takes what comes; `synchronous`, each commit waits for it."""
        assert self.standby is not None
        self.standby.init_standby(self.server, application=STANDBY)
        companions.start(STANDBY, self.standby.command())
        self.standby.wait_ready()
        end_t = time.monotonic() + FOLLOWS_WITHIN_S
        while not self.standby.following():
            if time.monotonic() > end_t:
                raise ServerTrouble(f"The standby does not follow its primary: {self.standby.last_words()}")
            time.sleep(0.02)
        if synchronous:
            with self.server.connect("postgres") as connection:
                connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
                connection.execute("SELECT pg_reload_conf()")

    def fence(self, companions: Companions) -> None:
        """No process of the old primary is left, nor can it be started by mistake: its data is called another name."""
        companions.kill(NAME)
        fenced = self.server.data.with_name("data.fenced")
        if self.server.data.exists():
            self.server.data.rename(fenced)

    def serving(self) -> Server:
        """The server that the service writes to: the standby, once the primary is fenced."""
        return self.server if self.standby is None or self.server.data.exists() else self.standby

    def answers(self) -> bool:
        """Whether the primary takes connections now; one that hangs for half a second does not."""
        try:
            self.server.connect("postgres", connect_timeout=1).close()
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        """What they left outside their directories is gone."""
        self.server.close()
        if self.standby is not None:
            self.standby.close()
