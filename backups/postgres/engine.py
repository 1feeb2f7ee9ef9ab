"""The PostgreSQL engine: base backups by the server's own programs, proven by recovering them and looking."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from backups.engine import Reading
from backups.errors import Damaged, NoSuchDatabase, NotADatabase, UsageError
from backups.format.facts import Facts, TableContent, differences
from backups.format.manifest import ServerState
from backups.postgres import facts as measuring
from backups.postgres import tape
from backups.postgres.base import BaseReading
from backups.postgres.binaries import Binaries, binaries, unprivileged
from backups.postgres.connection import cluster, connect, is_url
from backups.postgres.recovery import Recovered, at_name, recovered
from backups.progress import Progress, silent
from backups.sqlite.holders import Holder, command_of

_POSITION = re.compile(r"\w+\.\w+")
_READ_BYTES: Final = 1 << 20
_NAMED: Final = 5
_SIGNALLED: Final = 128
"""A program that `unshare` runs and a signal ends is told as more than this."""
_NOT_LISTED: Final = frozenset(("backup_manifest", "recovery.signal", "standby.signal", "postgresql.auto.conf"))
"""What the manifest does not speak of, as a restore may change it."""


class PostgresEngine:
    """Backs up the cluster of a running server of version 14 or newer, and proves copies with its own major version.

    A database is named by its URL; what is backed up is the whole cluster, and the facts are those of that database. A
    cluster that is not running is named by its data directory. `position_of` names a monotone column (`table.column`).
    """

    kind = "postgres"

    def __init__(self, url: str | None = None, *, position_of: str | None = None) -> None:
        if position_of is not None and not _POSITION.fullmatch(position_of):
            raise UsageError(f"A position is written table.column, and {position_of!r} is not.")
        self._url = url
        self._position_of = position_of

    def path_of(self, database: str) -> Path:
        """The data directory: as the server behind the URL says it, or as the path names it."""
        if not is_url(database):
            if "://" in database:
                raise UsageError(
                    f"{database} is not the URL of a PostgreSQL database: postgresql://user@host:5432/name."
                )
            return Path(database).resolve()
        with contextlib.closing(connect(database)) as connection:
            return cluster(connection).data

    def undisturbed(self, database: Path, purpose: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """Nothing is held: a cluster is restored while its server is down, and backed up while it is up."""
        return contextlib.nullcontext()

    def size_bytes(self, database: Path) -> int:
        with contextlib.closing(connect(self._reached(database))) as connection:
            row = connection.execute("SELECT sum(pg_database_size(oid)) FROM pg_database").fetchone()
            return int(row[0]) if row else 0

    @contextmanager
    def snapshot(self, database: Path, progress: Progress = silent) -> Iterator[Reading]:
        with contextlib.closing(BaseReading(self._reached(database), self._position_of, progress)) as reading:
            yield reading

    def check(self, copy: Path, facts: Facts | None, *, deep: bool, progress: Progress = silent) -> tuple[str, ...]:
        try:
            with _unpacked(copy, progress) as (data, state):
                programs = binaries(state.major)
                if deep and (findings := _verified(data, programs)):
                    return findings
                with recovered(data, state, programs, at_name(state.point), then="pause") as found:
                    return (*_faults(found, programs, deep=deep), *_differences(found, facts))
        except Damaged as error:
            return (str(error),)

    def content(self, copy: Path, progress: Progress = silent) -> dict[str, TableContent]:
        with _unpacked(copy, progress) as (data, state):
            goal = at_name(state.point)
            with (
                recovered(data, state, binaries(state.major), goal, then="pause") as found,
                contextlib.closing(found.connect()) as connection,
            ):
                total_bytes = copy.stat().st_size
                return measuring.content(
                    connection, lambda done: progress(min(done, total_bytes), total_bytes, "digest")
                )

    def reopen(self, database: Path, facts: Facts | None) -> tuple[str, ...]:
        """How the tape at that path differs from the facts, briefly checked."""
        return self.check(database, facts, deep=False)

    def members(self, database: Path) -> tuple[Path, ...]:
        return (database,)

    def holders(self, database: Path) -> tuple[Holder, ...]:
        return server_of(database)

    def _reached(self, database: Path) -> str:
        if self._url is None:
            raise NoSuchDatabase(f"There is no server to ask about {database}; name the database by its URL.")
        return self._url


def server_of(data: Path) -> tuple[Holder, ...]:
    """The postmaster that runs on this data directory, also when that was deleted under it; at most one.

    A server's processes work in their data directory, so /proc tells. Of other users' processes it tells nobody but root:
    there the directory's own `postmaster.pid` must do.
    """
    names = {str(data.resolve()), f"{data.resolve()} (deleted)"}
    inside = {pid for pid in _pids() if _working_directory(pid) in names}
    found = [pid for pid in inside if _parent(pid) not in inside]
    if not found:
        with contextlib.suppress(OSError, ValueError, IndexError):
            found = [int((data / "postmaster.pid").read_text("ascii").split()[0])]
    return tuple(
        Holder(pid, command_of(pid), data) for pid in sorted(found) if _program(pid) in ("postgres", "postmaster")
    )


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _working_directory(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def unlike_facts(there: Facts, state: ServerState, facts: Facts) -> tuple[str, ...]:
    """How what was found at the backup's restore point differs from what was measured, as far as that can be compared.

    Facts that are not of exactly this state still tell the schema, and how far the application had come at least.
    """
    if state.exact:
        return differences(facts, there)
    missing = tuple(f"Table {name} is missing." for name in sorted(facts.tables.keys() - there.tables.keys()))
    behind = facts.position is not None and (there.position is None or there.position < facts.position)
    late = (f"The position is {there.position}, and the manifest says at least {facts.position}.",) if behind else ()
    likened = msgspec.structs.replace(there, tables=facts.tables, position=facts.position)
    return (*differences(facts, likened), *missing, *late)


def _differences(found: Recovered, facts: Facts | None) -> tuple[str, ...]:
    if facts is None:
        return ()
    with contextlib.closing(found.connect()) as connection:
        return unlike_facts(measuring.measure(connection, facts.position_of), found.state, facts)


def _verified(data: Path, programs: Binaries) -> tuple[str, ...]:
    """What the server's own verification of the files against their manifest says is wrong.

    Where the program itself crashes, as that of one build of 18.4 does, the files are compared here.
    """
    command = [programs.path("pg_verifybackup"), "--quiet", str(data)]
    done = subprocess.run(unprivileged(command), capture_output=True, text=True, check=False)
    if not done.returncode:
        return ()
    if done.returncode < 0 or done.returncode > _SIGNALLED:
        return tuple(f"{finding}." for finding in islice(_unlike_manifest(data), _NAMED))
    lines = [line.split("error: ", 1)[-1] for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
    return tuple(f"pg_verifybackup says: {' '.join(line.split())}." for line in lines[:_NAMED])


def _unlike_manifest(data: Path) -> Iterator[str]:
    """How the files differ from `backup_manifest` (PostgreSQL's manual, "Backup Manifest Format"); the log is not in it."""
    try:
        listed = msgspec.json.decode((data / "backup_manifest").read_bytes())["Files"]
    except (OSError, msgspec.MsgspecError, KeyError) as error:
        yield f"backup_manifest cannot be read: {error}"
        return
    known = {one.get("Path") or bytes.fromhex(one["Encoded-Path"]).decode(): one for one in listed}
    for name, one in known.items():
        path = data / name
        if not path.is_file() or path.stat().st_size != one["Size"]:
            yield f"{name} is missing or has another size than the {one['Size']} bytes in backup_manifest"
            continue
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != one["Checksum"]:
                yield f"{name} is not what backup_manifest says: its SHA-256 differs"
    there = {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}
    for name in sorted(there - known.keys() - _NOT_LISTED):
        if not name.startswith("pg_wal/"):
            yield f"{name} is not in backup_manifest"


def _faults(found: Recovered, programs: Binaries, *, deep: bool) -> tuple[str, ...]:
    """Deeply: every row and index of every database, as far as the server's programs can tell. The facts read the rest."""
    if not deep:
        return ()
    with contextlib.closing(found.connect()) as connection:
        names = [row[0] for row in connection.execute("SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1")]
        extended = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'").fetchone()
    if extended is not None and programs.has("pg_amcheck"):
        return _amcheck(found, programs)
    return tuple(finding for name in names for finding in _dumped(found, programs, name))


def _amcheck(found: Recovered, programs: Binaries) -> tuple[str, ...]:
    state = found.state
    command = [
        programs.path("pg_amcheck"), "--host", str(found.sockets), "--port", "5432", "--username", state.user,
        "--no-password", "--heapallindexed", "--database", state.database,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return ()
    said = (done.stdout or done.stderr).strip().splitlines()
    return tuple(f"pg_amcheck says: {line.strip()}." for line in said[:_NAMED])


def _dumped(found: Recovered, programs: Binaries, database: str) -> tuple[str, ...]:
    """What stops a dump of the database: every row of it is read and written as text, to nowhere."""
    command = [
        programs.path("pg_dump"), "--host", str(found.sockets), "--port", "5432", "--username", found.state.user,
        "--no-password", "--no-sync", "--file=/dev/null", database,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return ()
    said = [line for line in done.stderr.splitlines() if "error" in line.lower()] or ["it failed"]
    return (f"pg_dump of {database} says: {' '.join(said[0].split())}.",)


@contextmanager
def _unpacked(copy: Path, progress: Progress) -> Iterator[tuple[Path, ServerState]]:
    """The data directory on the tape in that file, beside it, for the block; and the state that it comes to."""
    data = copy.with_name(f"{copy.name}.cluster")
    shutil.rmtree(data, ignore_errors=True)
    try:
        total_bytes = copy.stat().st_size
        if not total_bytes:
            raise NotADatabase(f"{copy} is empty.")
        tape.unpack(_pieces(copy, total_bytes, progress), data)
        yield data, state_in(data)
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _pieces(copy: Path, total_bytes: int, progress: Progress) -> Iterator[bytes]:
    done_bytes = 0
    with copy.open("rb", buffering=0) as source:
        while piece := source.read(_READ_BYTES):
            done_bytes += len(piece)
            progress(done_bytes, total_bytes, "unpack")
            yield piece


def state_in(data: Path) -> ServerState:
    """The state that the unpacked backup comes to, and its file taken away. Raises Damaged."""
    place = data / tape.STATE
    try:
        state = msgspec.json.decode(place.read_bytes(), type=ServerState)
    except (OSError, msgspec.MsgspecError) as error:
        raise Damaged("What it holds is not a base backup of ours: it does not say to which state it comes.") from error
    place.unlink()
    return state
