"""Faults of a PostgreSQL server itself, its processes and its files; those of its sessions are in `postgres.py`.

kill-postmaster      the parent of all, and all with it       delete-data-directory    the disk is lost with the server
kill-backend         one session; the server restarts itself  delete-wal-segment       recovery cannot come as far as it must
pause-postmaster     nobody new gets in                       corrupt-relation         a page fails its checksum (XX001)
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import psycopg
from msgspec import Meta

from chaos import durable
from chaos.errors import NothingToBreak, plainly
from chaos.fault import Healing, Injection, Missed, Proof, leased
from chaos.identity import Identity
from chaos.parameters import Seconds, Seed
from chaos.postgres import Table, connect
from chaos.process import DEADLINE_S, killed, stopped
from chaos.target import Target
from chaos.undo import Continue

SERVER = "postgres"
"""The server's name among the processes beside the service."""
PAGE_BYTES = 8192
RESET_S = 30.0
"""How long the server may take to recover from a reset."""
_HEADER_BYTES = 24

Pages = Annotated[int, Meta(ge=1, le=10_000, description="How many pages of it.")]
Signalled = Annotated[bool, Meta(description="Stop its children too: sessions under way stand still.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class KillPostmaster:
    """The server is gone at once, and what it had not written is to be recovered from its log."""

    name: ClassVar[str] = "kill-postmaster"
    summary: ClassVar[str] = "The postmaster gets SIGKILL; its children notice and end."
    healing: ClassVar[Healing] = "by starting it again"

    @property
    def leaves(self) -> str:
        return "The server is down; start it again."

    def plan(self, target: Target) -> tuple[str, ...]:
        return (f"SIGKILL to the postmaster, process {target.companion(SERVER).pid}.",)

    @contextmanager
    def inject(self, target: Target) -> Iterator[Injection]:
        yield Injection.of(killed({"postmaster": target.companion(SERVER)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class KillBackend:
    """One session's process dies as of a bug: the server ends every other one, recovers, and takes connections again."""

    name: ClassVar[str] = "kill-backend"
    summary: ClassVar[str] = "One session's process gets SIGKILL; the server resets itself and every session with it."
    healing: ClassVar[Healing] = "by itself"

    seed: Seed = 0

    @property
    def leaves(self) -> str:
        return ""

    def plan(self, target: Target) -> tuple[str, ...]:
        return (f"SIGKILL to one of the sessions' processes: {', '.join(str(one.pid) for one in _backends(target))}.",)

    @contextmanager
    def inject(self, target: Target) -> Iterator[Injection]:
        chosen = random.Random(self.seed).choice(_backends(target))
        yield Injection.of(killed({"backend": chosen}))


@dataclass(frozen=True, slots=True, kw_only=True)
class PausePostmaster:
    """The server stands still: nobody new gets in, and with `children` nobody gets an answer either."""

    name: ClassVar[str] = "pause-postmaster"
    summary: ClassVar[str] = "The postmaster is stopped (SIGSTOP) and continued later, alone or with all its children."
    healing: ClassVar[Healing] = "by undo"

    seconds: Seconds = 10.0
    children: Signalled = True

    @property
    def leaves(self) -> str:
        return ""

    def plan(self, target: Target) -> tuple[str, ...]:
        return tuple(f"SIGSTOP to the {name}, process {one.pid}." for name, one in self._processes(target).items())

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        processes = self._processes(target)
        undo = Continue(tuple(processes.values()))
        return leased(target, self.name, undo, act=lambda _: Injection.of(stopped(processes)), seconds=self.seconds)

    def _processes(self, target: Target) -> dict[str, Identity]:
        postmaster = target.companion(SERVER)
        children = _children(postmaster.pid) if self.children else ()
        return {"postmaster": postmaster, **{f"child {one.pid}": one for one in children}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteDataDirectory:
    """The disk is lost with the server on it: the postmaster dies, then every file of the cluster is deleted."""

    name: ClassVar[str] = "delete-data-directory"
    summary: ClassVar[str] = "The server is killed and its whole data directory deleted, as when its disk dies."
    healing: ClassVar[Healing] = "by restoring"

    @property
    def leaves(self) -> str:
        return "The cluster is gone; restore it from a backup."

    def plan(self, target: Target) -> tuple[str, ...]:
        return (*KillPostmaster().plan(target), f"Delete {_data(target)}.")

    @contextmanager
    def inject(self, target: Target) -> Iterator[Injection]:
        data = _data(target)
        postmaster = target.companion(SERVER)
        children = _children(postmaster.pid)
        finding = killed({"postmaster": postmaster})
        if isinstance(finding, Missed):
            yield Injection.of(finding)
            return
        for child in children:
            child.wait_until(timeout_s=DEADLINE_S)
        yield Injection.of(_deleted(data, finding.t_bite))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteWalSegment:
    """A segment of the log is gone that recovery needs: a server that crashes next does not come back by itself."""

    name: ClassVar[str] = "delete-wal-segment"
    summary: ClassVar[str] = "The segment that the next crash recovery begins with is deleted from the server's log."
    healing: ClassVar[Healing] = "by restoring"

    @property
    def leaves(self) -> str:
        return "The server cannot recover from a crash any more; restore it from a backup."

    def plan(self, target: Target) -> tuple[str, ...]:
        return (f"Delete {_needed_segment(target)}.",)

    @contextmanager
    def inject(self, target: Target) -> Iterator[Injection]:
        segment = _needed_segment(target)
        with plainly(f"deleting {segment}"):
            size_bytes = segment.stat().st_size
            segment.unlink()
            t_bite = time.monotonic()
            durable.sync_directory(segment.parent)
        if segment.exists():
            yield Injection.of(Missed(f"{segment} is there again"))
            return
        yield Injection.of(Proof(f"{segment.name} leads nowhere any more.", t_bite, {"size_bytes": size_bytes}))


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptRelation:
    """Pages of a table are overwritten on the disk, behind the server's back and past its cache."""

    name: ClassVar[str] = "corrupt-relation"
    summary: ClassVar[str] = (
        "Pages of a table's file are overwritten and the server reset, so that it reads what is there."
    )
    healing: ClassVar[Healing] = "by restoring"

    table: Table = "users"
    count: Pages = 1
    seed: Seed = 0

    @property
    def leaves(self) -> str:
        return "The table is damaged; restore it from a backup."

    def plan(self, target: Target) -> tuple[str, ...]:
        path, pages = _relation(target, self.table)
        return (
            f"Overwrite {min(self.count, pages)} of the {pages} pages of {path}.",
            "SIGKILL to a session of our own: the server resets itself, and forgets what it had read.",
        )

    @contextmanager
    def inject(self, target: Target) -> Iterator[Injection]:
        path, pages = _relation(target, self.table)
        dice = random.Random(self.seed)
        chosen = sorted(dice.sample(range(pages), min(self.count, pages)))
        with plainly(f"damaging {path}"):
            with path.open("r+b") as file:
                for page in chosen:
                    file.seek(page * PAGE_BYTES + _HEADER_BYTES)
                    file.write(dice.randbytes(PAGE_BYTES - _HEADER_BYTES))
            durable.sync_file(path)
        _reset(target)
        yield Injection.of(_unreadable(target, self.table, path, chosen))


def _reset(target: Target) -> None:
    """The server has ended every session, and takes new ones again."""
    with closing(connect(target)) as session:
        one = Identity.of(session.info.backend_pid)
        if one is not None:
            killed({"session": one})
    deadline = time.monotonic() + RESET_S
    while True:
        try:
            connect(target).close()
            return
        except NothingToBreak:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _unreadable(target: Target, table: str, path: Path, pages: list[int]) -> Proof | Missed:
    """The proof is the server's own word, once it has read the table from the disk."""
    with closing(connect(target)) as session:
        try:
            session.execute(f'SELECT count(t.*::text) FROM "{table}" t')  # noqa: S608  # its pattern allows nothing else
        except psycopg.errors.DataCorrupted as error:
            said = str(error).splitlines()[0]
            return Proof(f"The server says: {said}.", time.monotonic(), {"file": str(path), "pages": pages})
    return Missed(f"the server still reads {table} without complaint")


def _relation(target: Target, table: str) -> tuple[Path, int]:
    """The table's file and how many pages it has, all of them written out and none in the server's cache."""
    with closing(connect(target)) as session:
        row = session.execute("SELECT pg_relation_filepath(to_regclass(%s))", (f'"{table}"',)).fetchone()
        if row is None or row[0] is None:
            raise NothingToBreak(f"There is no table {table} in the database.")
        session.execute("CHECKPOINT")
    path = _data(target) / row[0]
    pages = path.stat().st_size // PAGE_BYTES
    if not pages:
        raise NothingToBreak(f"The table {table} is empty, so no page of it can be damaged.")
    return path, pages


def _needed_segment(target: Target) -> Path:
    with closing(connect(target)) as session:
        row = session.execute("SELECT redo_wal_file FROM pg_control_checkpoint()").fetchone()
    assert row is not None
    segment = _data(target) / "pg_wal" / str(row[0])
    if not segment.exists():
        raise NothingToBreak(f"There is no {segment}; the server has removed it itself.")
    return segment


def _data(target: Target) -> Path:
    if target.server is None or not (target.server / "data").is_dir():
        raise NothingToBreak(f"{target.directory} is not served from PostgreSQL, and this fault breaks nothing else.")
    return target.server / "data"


def _deleted(data: Path, t_bite: float) -> Proof | Missed:
    with plainly(f"deleting {data}"):
        files = sum(1 for path in data.rglob("*") if path.is_file())
        shutil.rmtree(data)
        durable.sync_directory(data.parent)
    if data.exists():
        return Missed(f"{data} is there again")
    return Proof(f"{data} leads nowhere any more.", t_bite, {"files": files})


def _backends(target: Target) -> list[Identity]:
    """The processes of other people's sessions. Raises NothingToBreak when there is none."""
    with closing(connect(target)) as session:
        rows = session.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            " AND datname = current_database() ORDER BY pid"
        ).fetchall()
    known = {one.pid: one for one in _children(target.companion(SERVER).pid)}
    found = [known[pid] for (pid,) in rows if pid in known]
    if not found:
        raise NothingToBreak(f"Nobody has a session on the server of {target.server}.")
    return found


def _children(pid: int) -> tuple[Identity, ...]:
    """The living children of that process."""
    try:
        pids = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    except OSError:
        return ()
    return tuple(one for text in pids if (one := Identity.of(int(text))) is not None)
