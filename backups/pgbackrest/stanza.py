"""A stanza of our own: repository and configuration below one directory, and the server that archives its log into it.

<directory>/repository     the backups and the log        <directory>/pgbackrest.conf    what `?config=` names
<directory>/log, lock      what pgBackRest says; who is at work
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backups.pgbackrest import SCHEME
from backups.pgbackrest.program import NoPgBackRest, Program, installed_version
from backups.pgbackrest.versions import dotted, newest_of
from backups.postgres.binaries import Binaries, binaries, installations, own
from backups.postgres.server import SUPERUSER, Server

NAME: Final = "gym"
_CONFIGURATION: Final = """\
[global]
repo1-path={place}/repository
repo1-retention-full=4
log-path={place}/log
lock-path={place}/lock
spool-path={place}/spool
compress-type=lz4
process-max=2
start-fast=y

[{name}]
pg1-path={data}
pg1-port={port}
pg1-socket-path={sockets}
pg1-user={user}
"""


def fitting_binaries() -> Binaries:
    """The newest PostgreSQL here that the pgBackRest here works with. Raises NoPgBackRest when one of them is missing."""
    version, there = installed_version(), [one.major for one in installations()]
    major = newest_of(version, there)
    if major is None:
        found = ", ".join(map(str, sorted(there))) or "none"
        raise NoPgBackRest(
            f"pgBackRest {dotted(version)} works with none of the PostgreSQL versions here ({found}); install Debian's "
            "postgresql beside Debian's pgbackrest, or a newer pgBackRest."
        )
    return binaries(major)


@dataclass(frozen=True, slots=True)
class Stanza:
    """The stanza of that server in that directory: `prepare` before the server starts, `create` once it runs."""

    directory: Path
    server: Server

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.directory.absolute() / "pgbackrest.conf"

    @property
    def repository(self) -> Path:
        """Where backups and log lie."""
        return self.directory / "repository"

    @property
    def program(self) -> Program:
        """pgBackRest for this stanza."""
        return Program(NAME, self.config)

    @property
    def address(self) -> str:
        """What `--store` is told."""
        return f"{SCHEME}{NAME}?config={self.config}"

    def prepare(self, *, archive_timeout_s: int = 60) -> None:
        """The server will archive each segment when it is full or that old. Raises NoPgBackRest for an unfit version."""
        self.program.require_fit(self.server.programs.major)
        for name in ("repository", "log", "lock", "spool"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        known = {"place": self.directory.absolute(), "name": NAME, "data": self.server.data.absolute()}
        server = {"port": self.server.port, "sockets": self.server.sockets, "user": SUPERUSER}
        self.config.write_text(_CONFIGURATION.format(**known, **server), "utf-8")
        own(self.directory)
        push = shlex.join(self.program.command("archive-push")).replace("'", "''")
        self.server.configure(
            archive_mode="on", archive_command=f"'{push} %p'", archive_timeout=f"'{archive_timeout_s}s'"
        )

    def create(self) -> None:
        """The repository knows the running server's cluster, and a segment has been archived. Raises a BackupError."""
        self.program.run("stanza-create")
        self.program.run("check")
