"""What one stanza of a pgBackRest repository holds, as `pgbackrest info` tells it, and what its configuration says of it."""

from __future__ import annotations

import configparser
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from backups.errors import StoreError, StoreUnusable
from backups.pgbackrest import SCHEME
from backups.pgbackrest.program import Program

_STANZA: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_USUAL: Final = (Path("/etc/pgbackrest/pgbackrest.conf"), Path("/etc/pgbackrest.conf"))
_MISSING_STANZA: Final = frozenset((1, 3))
"""`info` says so when the repository has no such stanza, or no data of it."""
_OTHER: Final = 99
"""`info` says so when the repository could not be read."""


class _Span(msgspec.Struct):
    start: int
    stop: int


class _Log(msgspec.Struct):
    start: str | None = None
    stop: str | None = None


class _Stored(msgspec.Struct):
    size: int
    delta: int


class _Size(msgspec.Struct):
    size: int
    delta: int
    repository: _Stored


class _Which(msgspec.Struct):
    id: int


class _Tablespace(msgspec.Struct):
    name: str
    destination: str


class _Backup(msgspec.Struct):
    label: str
    type: str
    timestamp: _Span
    info: _Size
    database: _Which
    lsn: _Log = msgspec.field(default_factory=_Log)
    prior: str | None = None
    error: bool | None = None
    tablespace: list[_Tablespace] | None = None


class _Database(msgspec.Struct, rename="kebab"):
    id: int
    system_id: int
    version: str


class _Status(msgspec.Struct):
    code: int
    message: str


class _Repository(msgspec.Struct):
    status: _Status


class _Stanza(msgspec.Struct):
    name: str
    status: _Status
    repo: list[_Repository] = []
    backup: list[_Backup] = []
    db: list[_Database] = []


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup of the stanza. It holds what was acknowledged before it began, and is one state once it has `stopped`.

    Its log begins at `start_lsn`, and `stop_lsn` is that state's position; `fetch_bytes` is what the repository holds of it
    and of those it builds on.
    """

    id: str
    kind: str
    parent: str | None
    taken: datetime
    stopped: datetime
    start_lsn: str
    stop_lsn: str
    system: str
    major: int
    size_bytes: int
    stored_bytes: int
    fetch_bytes: int
    fault: str
    database: str | None
    engine: str = "postgres"
    sequence: int | None = None
    level: int = -1
    pinned: bool = False
    expired: bool = False

    @property
    def state(self) -> str:
        """`suspect` where pgBackRest found pages with a wrong checksum while it read the database, else `complete`."""
        return "suspect" if self.fault else "complete"

    @property
    def seconds(self) -> float:
        """How long it took, in pgBackRest's whole seconds."""
        return (self.stopped - self.taken).total_seconds()


@dataclass(frozen=True, slots=True)
class Holdings:
    """The backups of a stanza, oldest first, and the cluster that it is for now."""

    backups: tuple[Backup, ...]
    system: str
    major: int


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says of the stanza; pgBackRest's environment variables come before the file."""

    repository: Path | None
    """The directory of the repository, None when it is not on this machine."""
    data: Path | None
    user: str
    database: str


def program_at(address: str) -> Program:
    """The program for `pgbackrest:STANZA` or `pgbackrest:STANZA?config=FILE`. Raises StoreUnusable for anything else."""
    stanza, _, query = address.removeprefix(SCHEME).partition("?")
    known = dict(parse_qsl(query, keep_blank_values=True))
    config = known.pop("config", None)
    if not _STANZA.fullmatch(stanza) or known or config == "":
        raise StoreUnusable(f"{address} is not written pgbackrest:STANZA or pgbackrest:STANZA?config=FILE.")
    return Program(stanza, None if config is None else Path(config).absolute())


def settings(program: Program) -> Settings:
    """The stanza's settings. Raises StoreUnusable when the file is not there, or its repository's directory is not."""
    there = _options(program)
    kind = there.get("repo1-type", "posix")
    path = Path(there.get("repo1-path", "/var/lib/pgbackrest")) if kind in ("posix", "cifs") else None
    remote = "repo1-host" in there
    if path is not None and not remote and not path.is_dir():
        raise StoreUnusable(
            f"The repository {path} of the stanza {program.stanza} is not there; mount it, or correct repo1-path in "
            f"{program.config or _USUAL[0]}."
        )
    return Settings(
        repository=None if remote else path,
        data=Path(there["pg1-path"]) if "pg1-path" in there else None,
        user=there.get("pg1-user", "postgres"),
        database=there.get("pg1-database", "postgres"),
    )


def holdings(program: Program) -> Holdings:
    """What the stanza holds. Raises StoreUnusable when there is no such stanza, StoreError when nobody can tell."""
    there = settings(program)
    stanza = _told(program)
    if stanza is not None and stanza.status.code == _OTHER:
        why = "; ".join(" ".join(one.status.message.split()) for one in stanza.repo if one.status.code)
        raise StoreError(f"pgBackRest cannot tell what the stanza {program.stanza} holds: {why}.")
    if stanza is None or stanza.status.code in _MISSING_STANZA or not stanza.db:
        said = f" ({stanza.status.message})" if stanza else ""
        config = f" --config={program.config}" if program.config else ""
        raise StoreUnusable(
            f"The repository {there.repository or ''} has no stanza {program.stanza}{said}; make it, with the server "
            f"running, by: pgbackrest{config} --stanza={program.stanza} stanza-create."
        )
    known = {one.id: one for one in stanza.db}
    newest = known[max(known)]
    database = str(there.data) if there.data else None
    return Holdings(
        tuple(_backup(one, known[one.database.id], database) for one in stanza.backup if one.database.id in known),
        str(newest.system_id),
        _major(newest.version),
    )


def tablespaces(program: Program, backup: str) -> tuple[str, ...]:
    """Where the tablespaces of that backup's cluster lay: a restore puts them there, wherever it puts the rest."""
    stanza = _told(program, f"--set={backup}")
    found = [one for one in stanza.backup if one.label == backup] if stanza else []
    return tuple(place.destination for one in found for place in one.tablespace or ())


def _told(program: Program, *options: str) -> _Stanza | None:
    try:
        stanzas = msgspec.json.decode(program.run("info", "--output=json", *options), type=list[_Stanza])
    except msgspec.MsgspecError as error:
        raise StoreError(f"What pgbackrest info says of {program.stanza} cannot be read: {error}.") from error
    return next((one for one in stanzas if one.name == program.stanza), None)


def _backup(one: _Backup, of: _Database, database: str | None) -> Backup:
    fault = "pgBackRest found pages with a wrong checksum in the database while it read them." if one.error else ""
    return Backup(
        id=one.label,
        kind="full" if one.type == "full" else "incr",
        parent=one.prior,
        taken=datetime.fromtimestamp(one.timestamp.start, UTC),
        stopped=datetime.fromtimestamp(one.timestamp.stop, UTC),
        start_lsn=one.lsn.start or "0/0",
        stop_lsn=one.lsn.stop or "0/0",
        system=str(of.system_id),
        major=_major(of.version),
        size_bytes=one.info.size,
        stored_bytes=one.info.repository.delta,
        fetch_bytes=one.info.repository.size,
        fault=fault,
        database=database,
    )


def _major(version: str) -> int:
    """Of `15`, or `9.6`, the number that stands first."""
    return int(version.split(".")[0])


def _options(program: Program) -> dict[str, str]:
    """The stanza's options over the global ones; those of single commands are left out."""
    path = program.config or next((one for one in _USUAL if one.is_file()), None)
    read = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#",))
    try:
        if path is not None:
            read.read_string(path.read_text("utf-8"), str(path))
    except FileNotFoundError as error:
        raise StoreUnusable(f"There is no configuration of pgBackRest at {path}; name it with ?config=FILE.") from error
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise StoreUnusable(f"The configuration of pgBackRest at {path} cannot be read: {error}.") from error
    there: dict[str, str] = {}
    for section in ("global", program.stanza):
        there |= {name: value.strip() for name, value in (read[section] if read.has_section(section) else {}).items()}
    prefix = "PGBACKREST_"
    told = {name.removeprefix(prefix): value for name, value in os.environ.items() if name.startswith(prefix)}
    return there | {name.lower().replace("_", "-"): value for name, value in told.items()}
