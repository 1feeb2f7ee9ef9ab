"""The PostgreSQL engine: base backups by the server's own programs, proven by recovering them and looking."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from backups import disk
from backups.engine import Base, Reading
from backups.errors import Damaged, NoSuchDatabase, NotADatabase, UsageError
from backups.format.facts import Facts, TableContent, differences
from backups.format.manifest import ServerState
from backups.postgres import facts as measuring
from backups.postgres import listed, tape
from backups.postgres.base import BaseReading
from backups.postgres.binaries import binaries
from backups.postgres.combining import combine
from backups.postgres.connection import cluster, connect, is_url
from backups.postgres.recovery import Recovered, at_name, recovered
from backups.postgres.soundness import faults, unlike_manifest
from backups.progress import Progress, silent
from backups.sqlite.holders import Holder, command_of

_POSITION = re.compile(r"\w+\.\w+")
_READ_BYTES: Final = 1 << 20


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
    def snapshot(self, database: Path, progress: Progress = silent, base: Base | None = None) -> Iterator[Reading]:
        with contextlib.closing(BaseReading(self._reached(database), self._position_of, progress, base)) as reading:
            yield reading

    def check(self, copy: Path, facts: Facts | None, *, deep: bool, progress: Progress = silent) -> tuple[str, ...]:
        try:
            with _unpacked(copy, progress) as (data, state):
                programs = binaries(state.major)
                if deep and (findings := unlike_manifest(data, programs)):
                    return findings
                with recovered(data, state, programs, at_name(state.point), then="pause") as found:
                    return (*(faults(found, programs) if deep else ()), *_differences(found, facts))
        except Damaged as error:
            return (str(error),)

    def combine(self, images: Sequence[Path], into: Path, progress: Progress = silent) -> bytes:
        with contextlib.ExitStack() as held:
            parts = [held.enter_context(_unpacked(image, progress)) for image in images]
            state = parts[-1][1]
            whole = held.enter_context(_cleared(into.with_name(f"{into.name}.whole")))
            combine([data for data, _ in parts], whole, binaries(state.major))
            listing = (whole / listed.NAME).read_bytes()
            (whole / tape.STATE).write_bytes(msgspec.json.encode(state, order="sorted"))
            with into.open("xb", buffering=0) as target:
                for block in tape.pack(whole):
                    target.write(block)
                disk.sync(target)
        return listing

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


@contextmanager
def _unpacked(copy: Path, progress: Progress) -> Iterator[tuple[Path, ServerState]]:
    """The data directory on the tape in that file, beside it, for the block; and the state that it comes to."""
    with _cleared(copy.with_name(f"{copy.name}.cluster")) as data:
        total_bytes = copy.stat().st_size
        if not total_bytes:
            raise NotADatabase(f"{copy} is empty.")
        tape.unpack(_pieces(copy, total_bytes, progress), data)
        yield data, state_in(data)


@contextmanager
def _cleared(place: Path) -> Iterator[Path]:
    """A directory that is not there before the block, nor after it."""
    shutil.rmtree(place, ignore_errors=True)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


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
