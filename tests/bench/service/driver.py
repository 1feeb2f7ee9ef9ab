"""The raw driver doing the same statements: what the service's SQL costs when nothing is around it.

The service's own functions are played once, in this process, and every statement they send is written down with its values.
Played again on the same database, by one thread on the driver's own cursor, each write with a commit of its own, those
statements do exactly what they did the first time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import psycopg
from pysqlite3 import dbapi2 as sqlite

import system.job_modules
from backups.postgres.connection import libpq
from loadtests.virtual_user import Script, Step, VirtualUser
from system import (
    challenge_service,
    match_service,
    notification_service,
    points_service,
    tournament_reads,
    tournament_service,
    user_service,
)
from system.apply import apply
from system.database import engine_for, is_sqlite, sqlite_path
from system.errors import ServiceError
from system.failpoints import Failpoints
from system.jobs import Job, Operation
from system.problems import problem_bytes
from system.shapes import ID_MAX
from system.statements import DriverReader, Parameters, Rows, Session, Statements, statements_for
from system.wire import Ask
from tests.bench.service.clients import STEPS, visitor

assert system.job_modules

SESSION_MS = 14 * 24 * 3600 * 1000
USERS_AT_ONCE = 64
_PAGE = (20, ID_MAX)

Told = tuple[str, Any]
"""A statement and its values, as the driver takes them."""


@dataclass(frozen=True, slots=True)
class Act:
    """One request's statements, and whether they were committed."""

    flow: str
    write: bool
    applied: bool
    told: tuple[Told, ...]


class Recorder(DriverReader):
    """A session as service functions use it, on the driver's connection, that writes down what it is asked."""

    def __init__(self, raw: Any, statements: Statements) -> None:
        super().__init__(raw, statements)
        self.told: list[Told] = []

    def execute(self, statement: Any, parameters: Parameters | None = None, /) -> Rows:
        """The statement's rows."""
        given = parameters or {}
        compiled = self._prebuilt(statement, given)
        self.told.append((compiled.sql, compiled.arguments(given)))
        return self._statements.run(self._raw, compiled, given)

    def scalars(self, statement: Any, parameters: Parameters | None = None, /) -> Any:
        """The first column of its rows."""
        return self.execute(statement, parameters).scalars()

    def later(self, statement: Any, parameters: Parameters) -> None:
        """At once: here everything is a message of its own."""
        self.execute(statement, parameters)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Not written down: whoever has the database alone needs none."""
        yield

    def flush(self) -> None:
        """Nothing waits."""


def record(url: str, script: Script, steps: int) -> list[Act]:
    """So many steps of the scenario were applied to the database; the statements that took, in order."""
    engine = engine_for(url, writer=True)
    acts: list[Act] = []
    try:
        with engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            statements = statements_for(engine.dialect)
            for user, step in _played(script, steps):
                recorder = Recorder(raw, statements)
                raw.execute("BEGIN")
                status, body = _answer(recorder, user, step, look=is_sqlite(url))
                applied = status < 300
                raw.execute("COMMIT" if step.flow.write and applied else "ROLLBACK")
                if status not in step.flow.expect:
                    raise AssertionError(f"{step.flow.name} was answered {status}: {body.decode()}")
                acts.append(Act(step.flow.name, step.flow.write, applied, tuple(recorder.told)))
                user.learn(step, "ok" if applied else "refused", status, body)
    finally:
        engine.dispose()
    return acts


@dataclass(frozen=True, slots=True)
class Replayed:
    """How long the statements took the driver, on the wall and of CPU."""

    acts: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Requests' worth of statements per second."""
        return self.acts / self.seconds


def replay(url: str, acts: Sequence[Act]) -> Replayed:
    """The statements were executed again, on a database as it was before they were recorded."""
    play = _play_sqlite if is_sqlite(url) else _play_postgres
    began, cpu = time.perf_counter(), time.process_time()
    play(url, acts)
    return Replayed(len(acts), time.perf_counter() - began, time.process_time() - cpu)


def _play_sqlite(url: str, acts: Sequence[Act]) -> None:
    with closing(sqlite.connect(str(sqlite_path(url)), isolation_level=None, cached_statements=512)) as raw:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -8192"):
            raw.execute(f"PRAGMA {pragma}")
        for act in acts:
            if act.write:
                raw.execute("BEGIN IMMEDIATE")
            for sql, values in act.told:
                raw.execute(sql, values).fetchall()
            if act.write:
                raw.execute("COMMIT" if act.applied else "ROLLBACK")


def _play_postgres(url: str, acts: Sequence[Act]) -> None:
    known: dict[str, Any] = {
        "prepare_threshold": 1,
        "options": "-c plan_cache_mode=force_generic_plan",
        "cursor_factory": psycopg.RawCursor,  # the statements are PostgreSQL's own, with $1 and $2
    }
    with (
        psycopg.connect(libpq(url), autocommit=True, **known) as reads,
        psycopg.connect(libpq(url), **known) as writes,
    ):
        for act in acts:
            raw = writes if act.write else reads
            for sql, values in act.told:
                cursor = raw.execute(sql, values)
                if cursor.description is not None:
                    cursor.fetchall()
            if act.write and act.applied:
                raw.commit()
            elif act.write:
                raw.rollback()


def _played(script: Script, steps: int) -> Iterator[tuple[VirtualUser, Step]]:
    """Steps of users who take turns, as many at once as there are clients, each as long as a client plays it."""
    made = 0
    for first in range(1, 1 + steps, USERS_AT_ONCE):
        users = [visitor(first + place, script) for place in range(USERS_AT_ONCE)]
        for _ in range(STEPS):
            for user in users:
                if made == steps:
                    return
                made += 1
                user.think()
                yield user, user.next_step()


def _answer(recorder: Recorder, user: VirtualUser, step: Step, *, look: bool) -> tuple[int, bytes]:
    now_ms = time.time_ns() // 1_000_000
    body = msgspec.json.decode(step.body or b"{}")
    words = step.path.partition("?")[0].strip("/").split("/")
    named = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    try:
        if step.flow.name == "log-in":
            found = user_service.credentials(recorder, body["name"])
            assert found is not None
            me = found[0]
        else:
            hashed = hashlib.sha256(user.player.token.encode()).hexdigest()
            known = user_service.session_user(recorder, hashed, now_ms)
            assert known is not None
            me = known
        if step.op is None:
            return 200, msgspec.json.encode(_READS[step.flow.name](recorder, me, named))
        job, values = _WRITES[step.flow.name]
        expiry_ms = now_ms + SESSION_MS
        values_of = {
            **body,
            "named": named,
            "me": me,
            "hashed": f"{step.op:.>64}",
            "expires_ms": expiry_ms,
            "none": None,
        }
        operation = Operation(step.op, "", me, "", now_ms)
        ask = Ask(0, job.name, tuple(values_of.get(name) for name in values), operation, 0.0)
        answer = apply(cast(Session, recorder), ask, Failpoints(None), lambda: None, look=look)
    except ServiceError as error:
        status, _, told = problem_bytes(error, "")
        return status, told
    return answer.status, answer.body


_READS: dict[str, Callable[[Recorder, int, int], Any]] = {
    "profile": lambda session, me, _: user_service.profile(session, me),
    "player": lambda session, _, named: user_service.public_profile(session, named),
    "points": lambda session, me, _: points_service.statement(session, me, *_PAGE),
    "tournaments": lambda session, *_: tournament_reads.listing(session, "open", 20, 0),
    "tournament": lambda session, _, named: tournament_reads.tournament(session, named),
    "standings": lambda session, _, named: tournament_service.ranking(session, named),
    "unread": lambda session, me, _: notification_service.unread_count(session, me),
    "notifications": lambda session, me, _: notification_service.listing(session, me, True, *_PAGE),
    "challenges": lambda session, me, _: challenge_service.listing(session, me, "issued", *_PAGE),
}
"""What each flow that reads asks, with whose session it is and the id in its path."""

_WRITES: dict[str, tuple[Job, tuple[str, ...]]] = {
    "edit-profile": (user_service.edit_profile, ("display_name", "bio")),
    "score": (match_service.score, ("named", "side", "points")),
    "join": (tournament_service.join, ("named",)),
    "challenge": (challenge_service.issue, ("opponent_id", "stake", "title")),
    "accept": (challenge_service.accept, ("named",)),
    "decline": (challenge_service.decline, ("named",)),
    "settle": (challenge_service.settle, ("named", "winner_id")),
    "read": (notification_service.mark_read, ("named",)),
    "read-all": (notification_service.mark_all_read, ()),
    "log-in": (user_service.log_in, ("me", "hashed", "expires_ms", "none")),
}
"""The job of each flow that writes, and the names of its arguments: of the body, or one of `_answer`'s."""
