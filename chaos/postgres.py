"""Faults of a PostgreSQL server's sessions, played over a connection of our own, and only on a server of the target's.

terminate-backends    sessions end (57P01)          hold-table-lock       nobody else gets at a table
cancel-statements     statements end (57014)        exhaust-connections   nobody else gets a connection (53300)
deadlock-pairs        two who wait for each other   idle-in-transaction   rows stay locked, and old versions stay
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import psycopg
from msgspec import Meta

from chaos.errors import ChaosError, NothingToBreak, NotTarget
from chaos.fault import Healing, Injection, Missed, Proof
from chaos.parameters import Count, Seconds, Seed
from chaos.target import Target

_MOST_CONNECTIONS = 5_000
APPLICATION = "gymkhana-chaos"
"""How our own sessions call themselves; no fault touches those."""

PerSecond = Annotated[float, Meta(gt=0, le=1000, description="How many a second.")]
Table = Annotated[str, Meta(pattern="^[a-z_][a-z0-9_]{0,62}$", description="The table.")]

_OTHERS = "datname = current_database() AND backend_type = 'client backend' AND application_name <> %s"


class _Reach(msgspec.Struct, frozen=True):
    host: str
    port: int
    user: str
    database: str


def connect(target: Target) -> psycopg.Connection[Any]:
    """A session on the target's server. Raises NothingToBreak when there is none, NotTarget when it is somebody else's."""
    if target.server is None:
        raise NothingToBreak(f"{target.directory} is not served from PostgreSQL, and this fault breaks nothing else.")
    try:
        reach = msgspec.json.decode((target.server / "server.json").read_bytes(), type=_Reach)
        session = psycopg.connect(
            host=reach.host, port=reach.port, user=reach.user, dbname=reach.database, application_name=APPLICATION,
            autocommit=True, connect_timeout=3,
        )  # fmt: skip
    except (OSError, msgspec.MsgspecError, psycopg.Error) as error:
        said = str(error).strip().splitlines()[0]
        raise NothingToBreak(
            f"The server of {target.server} cannot be reached ({said}); start it, then inject."
        ) from error
    place = Path(str(session.execute("SHOW data_directory").fetchone()[0])).resolve()  # type: ignore[index]
    if not place.is_relative_to(target.directory.resolve()):
        session.close()
        raise NotTarget(f"The server that answers keeps its data in {place}, outside {target.directory}.")
    return session


@dataclass(slots=True)
class _Acting:
    """What a thread of a fault has done so far. `first_t` is when it first bit, None before that."""

    count: int = 0
    first_t: float | None = None
    failed: str = ""

    def bit(self, times: int = 1) -> None:
        if times and self.first_t is None:
            self.first_t = time.monotonic()
        self.count += times

    def finding(self, what: str, missed: str) -> Proof | Missed:
        if self.first_t is None:
            return Missed(self.failed or missed)
        return Proof(f"{self.count} {what}", self.first_t, {"count": self.count})


@contextmanager
def _beside(work: Callable[[_Acting, threading.Event], None]) -> Iterator[_Acting]:
    """The work goes on in a thread until the block ends; it is told to stop by the event."""
    acting, ended = _Acting(), threading.Event()

    def run() -> None:
        try:
            work(acting, ended)
        except (psycopg.Error, ChaosError) as error:
            acting.failed = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

    thread = threading.Thread(target=run, name="fault", daemon=True)
    thread.start()
    try:
        yield acting
    finally:
        ended.set()
        thread.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Storm:
    """One session after another is picked by chance and hit."""

    name: ClassVar[str]
    function: ClassVar[str]
    done: ClassVar[str]
    condition: ClassVar[str] = "true"

    per_second: PerSecond = 5.0
    seconds: Seconds = 10.0
    seed: Seed = 0

    @property
    def leaves(self) -> str:
        return ""

    def plan(self, target: Target) -> tuple[str, ...]:
        connect(target).close()
        return (f"{self.function} on sessions of the service, {self.per_second:g} a second for {self.seconds:g} s.",)

    @contextmanager
    def inject(self, target: Target) -> Iterator[Injection]:
        with contextlib.closing(connect(target)) as session:
            with _beside(lambda acting, ended: self._storm(session, acting, ended)) as acting:
                yield Injection(lambda: acting.finding(self.done, "there was no session to hit"))

    def _storm(self, session: psycopg.Connection[Any], acting: _Acting, ended: threading.Event) -> None:
        dice = random.Random(self.seed)
        end_t = time.monotonic() + self.seconds
        while not ended.wait(1 / self.per_second) and time.monotonic() < end_t:
            sessions = session.execute(
                f"SELECT pid FROM pg_stat_activity WHERE {_OTHERS} AND {self.condition} ORDER BY pid",  # noqa: S608
                (APPLICATION,),
            ).fetchall()
            if sessions:
                (hit,) = session.execute(f"SELECT {self.function}(%s)", dice.choice(sessions)).fetchone() or (False,)
                acting.bit(int(hit))


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminateBackends(_Storm):
    """Sessions are ended by the server, as an administrator or a failover does it."""

    name: ClassVar[str] = "terminate-backends"
    summary: ClassVar[str] = "Sessions of the database are ended by the server, some every second."
    healing: ClassVar[Healing] = "by itself"
    function: ClassVar[str] = "pg_terminate_backend"
    done: ClassVar[str] = "sessions were terminated."


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelStatements(_Storm):
    """Statements are cancelled while they run."""

    name: ClassVar[str] = "cancel-statements"
    summary: ClassVar[str] = "Running statements are cancelled by the server, some every second."
    healing: ClassVar[Healing] = "by itself"
    function: ClassVar[str] = "pg_cancel_backend"
    done: ClassVar[str] = "statements were cancelled."
    condition: ClassVar[str] = "state = 'active'"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """Something is held by a session of ours until the block ends or the time is up; the server lets go with the session."""

    seconds: Seconds = 10.0

    @property
    def leaves(self) -> str:
        return ""

    def _hold(self, target: Target, act: Callable[[psycopg.Connection[Any]], Proof | Missed]) -> Any:
        @contextmanager
        def holding() -> Iterator[Injection]:
            with contextlib.closing(connect(target)) as session:
                # Should this process stand still or die, the server ends the transaction by itself.
                session.execute(f"SET idle_in_transaction_session_timeout = {int(self.seconds * 1000)}")
                finding = act(session)
                timer = threading.Timer(self.seconds, session.close)
                timer.start()
                try:
                    yield Injection.of(finding)
                finally:
                    timer.cancel()

        return holding()


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldTableLock(_Held):
    """A table is locked against everybody else."""

    name: ClassVar[str] = "hold-table-lock"
    summary: ClassVar[str] = "A table is locked in ACCESS EXCLUSIVE mode: nobody else reads or writes it."
    healing: ClassVar[Healing] = "by undo"

    table: Table = "points_accounts"

    def plan(self, target: Target) -> tuple[str, ...]:
        connect(target).close()
        return (f"LOCK TABLE {self.table} IN ACCESS EXCLUSIVE MODE, for {self.seconds:g} s.",)

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        def lock(session: psycopg.Connection[Any]) -> Proof | Missed:
            session.execute("BEGIN")
            try:
                session.execute("SET LOCAL lock_timeout = '5s'")
                session.execute(f'LOCK TABLE "{self.table}" IN ACCESS EXCLUSIVE MODE')
            except psycopg.Error as error:
                return Missed(f"the lock could not be had: {str(error).strip().splitlines()[0]}")
            return Proof(f"{self.table} is locked.", time.monotonic(), {"table": self.table})

        held: AbstractContextManager[Injection] = self._hold(target, lock)
        return held


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleInTransaction(_Held):
    """A transaction that changed rows does nothing and does not end."""

    name: ClassVar[str] = "idle-in-transaction"
    summary: ClassVar[str] = "A transaction locks rows, then does nothing: whoever wants those rows waits."
    healing: ClassVar[Healing] = "by undo"

    table: Table = "points_accounts"
    rows: Annotated[Count, Meta(description="How many of its rows are locked.")] = 50

    def plan(self, target: Target) -> tuple[str, ...]:
        connect(target).close()
        return (f"SELECT … FOR UPDATE of {self.rows} rows of {self.table}, held for {self.seconds:g} s.",)

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        def lock(session: psycopg.Connection[Any]) -> Proof | Missed:
            session.execute("BEGIN")
            rows = session.execute(
                f'SELECT 1 FROM "{self.table}" ORDER BY 1 LIMIT {self.rows} FOR UPDATE SKIP LOCKED'  # noqa: S608
            ).fetchall()
            if not rows:
                return Missed(f"{self.table} has no row that could be locked")
            return Proof(f"{len(rows)} rows of {self.table} are locked.", time.monotonic(), {"rows": len(rows)})

        held: AbstractContextManager[Injection] = self._hold(target, lock)
        return held


@dataclass(frozen=True, slots=True, kw_only=True)
class ExhaustConnections:
    """Every connection that the server gives to ordinary users is taken."""

    name: ClassVar[str] = "exhaust-connections"
    summary: ClassVar[str] = "Every free connection of the server is taken: who wants a new one is refused."
    healing: ClassVar[Healing] = "by undo"

    seconds: Seconds = 10.0

    @property
    def leaves(self) -> str:
        return ""

    def plan(self, target: Target) -> tuple[str, ...]:
        with contextlib.closing(connect(target)) as session:
            free = _free_connections(session)
        return (f"Open {free} connections, and hold them for {self.seconds:g} s.",)

    @contextmanager
    def inject(self, target: Target) -> Iterator[Injection]:
        connect(target).close()
        taken: list[psycopg.Connection[Any]] = []
        with contextlib.suppress(NothingToBreak):  # Until the server refuses.
            while len(taken) < _MOST_CONNECTIONS:
                taken.append(connect(target))
        finding: Proof | Missed = Missed("no connection was to be had")
        if taken:
            said = f"{len(taken)} connections were taken, and no more were given."
            finding = Proof(said, time.monotonic(), {"taken": len(taken)})
        timer = threading.Timer(self.seconds, _close, [taken])
        timer.start()
        try:
            yield Injection.of(finding)
        finally:
            timer.cancel()
            _close(taken)


def _close(sessions: list[psycopg.Connection[Any]]) -> None:
    for session in sessions:
        session.close()


_FREE = """
SELECT current_setting('max_connections')::int - count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
"""


def _free_connections(session: psycopg.Connection[Any]) -> int:
    row = session.execute(_FREE).fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlockPairs:
    """Pairs of transactions take the same two rows in opposite orders, among the rows that the service wants too."""

    name: ClassVar[str] = "deadlock-pairs"
    summary: ClassVar[str] = "Transactions lock pairs of rows in opposite orders until the server ends one of them."
    healing: ClassVar[Healing] = "by itself"

    table: Table = "points_accounts"
    seconds: Seconds = 10.0
    seed: Seed = 0

    @property
    def leaves(self) -> str:
        return ""

    def plan(self, target: Target) -> tuple[str, ...]:
        connect(target).close()
        return (f"Deadlocks between rows of {self.table}, one after the other for {self.seconds:g} s.",)

    @contextmanager
    def inject(self, target: Target) -> Iterator[Injection]:
        with contextlib.closing(connect(target)) as one, contextlib.closing(connect(target)) as other:
            with _beside(lambda acting, ended: self._embrace(one, other, acting, ended)) as acting:
                yield Injection(lambda: acting.finding("deadlocks were ended by the server.", "no deadlock came about"))

    def _embrace(
        self, one: psycopg.Connection[Any], other: psycopg.Connection[Any], acting: _Acting, ended: threading.Event
    ) -> None:
        dice = random.Random(self.seed)
        ids = [row[0] for row in one.execute(f'SELECT id FROM "{self.table}" ORDER BY id LIMIT 1000').fetchall()]  # noqa: S608
        if len(ids) < 2:
            raise NothingToBreak(f"{self.table} has no two rows to lock.")
        end_t = time.monotonic() + self.seconds
        while not ended.is_set() and time.monotonic() < end_t:
            left, right = dice.sample(ids, 2)
            acting.bit(self._once(one, other, left, right))

    def _once(self, one: psycopg.Connection[Any], other: psycopg.Connection[Any], left: int, right: int) -> int:
        """How many of the two the server ended."""
        lock = f'SELECT 1 FROM "{self.table}" WHERE id = %s FOR UPDATE'  # noqa: S608
        for session, row in ((one, left), (other, right)):
            session.execute("BEGIN")
            session.execute(lock, (row,))
        victims = 0

        def want(session: psycopg.Connection[Any], row: int) -> None:
            nonlocal victims
            try:
                session.execute(lock, (row,))
            except psycopg.errors.DeadlockDetected:
                victims += 1

        crossing = threading.Thread(target=want, args=(one, right))
        crossing.start()
        want(other, left)
        other.execute("ROLLBACK")
        crossing.join()
        one.execute("ROLLBACK")
        return victims
