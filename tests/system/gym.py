"""The platform without HTTP: every job goes through the real batch writer as the frame it would arrive in."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import pysqlite3.dbapi2 as sqlite
from sqlalchemy import Connection, Engine, event

import system.job_modules
from backups.postgres.server import Server
from system import (
    audit,
    challenge_service,
    match_service,
    notification_service,
    operations_service,
    tournament_service,
    user_service,
)
from system.admin import account_service, session_service, token_service
from system.admin.actions import By
from system.audit import Facts
from system.batch import Batches
from system.database import Base, SessionLocal, engine_for
from system.errors import ServiceError
from system.failpoints import Failpoints
from system.jobs import Operation
from system.notification_models import DeliveryAttempt
from system.operations_service import Survivor
from system.sessions import Sessions
from system.statements import Session
from system.wire import Answer, Ask, Frames, ask, pack

assert system.job_modules

P = ParamSpec("P")
R = TypeVar("R")

RUN = "r"
START_MS = 1_700_000_000_000

_FAMILY = {kind.kind: kind for kind in ServiceError.__subclasses__()}


class Gym:
    """A database and its one writer. Every applied job is committed; `now_ms` stands still until it is moved."""

    def __init__(self, url: str, writing: Engine) -> None:
        self.url = url
        Base.metadata.create_all(writing)
        self.reading = engine_for(self.url)
        self.now_ms = START_MS
        self._numbers = itertools.count(len(self.rows("SELECT 1 FROM operations")) + 1)

    def close(self) -> None:
        """Lets go of the database."""
        self.reading.dispose()

    def run(self, asks: Sequence[Ask]) -> list[Answer]:
        """The answers, after their commits."""
        raise NotImplementedError

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query, read past every service."""
        raise NotImplementedError

    def tamper(self, *statements: str) -> None:
        """Changes rows behind every rule's back: no foreign keys, no checks. Each statement must change something."""
        raise NotImplementedError

    def apply(
        self, job: Any, *args: Any, actor: int | None = None, op: str | None = None, fingerprint: str = ""
    ) -> Any:
        """The body the job answered with, after its commit. Raises the ServiceError it refused with."""
        (answer,) = self.batch([(job, args, actor)], op, fingerprint)
        if answer.kind:
            raise _FAMILY[answer.kind](answer.code, answer.message)
        return msgspec.json.decode(answer.body) if answer.body else None

    def batch(
        self,
        calls: Sequence[tuple[Any, tuple[Any, ...], int | None]],
        op: str | None = None,
        fingerprint: str = "",
    ) -> list[Answer]:
        """The answers to jobs that share one commit, in their order."""
        frames = Frames()
        asked = []
        for number, (job, args, actor) in enumerate(calls):
            operation = Operation(op or f"{RUN}.{next(self._numbers)}", RUN, actor, fingerprint, self.now_ms)
            sent = Ask(number, job.name, args, operation, time.monotonic() + 30)
            asked += [ask(frame) for frame in frames.feed(pack(sent))]
        return sorted(self.run(asked), key=lambda answer: answer.number)

    def read(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kw: P.kwargs) -> R:
        """What a read function returns, on a connection that cannot write."""
        with self.reading.connect() as connection:
            return function(connection, *args, **kw)

    def session(self) -> Session:
        """A session that cannot write."""
        return SessionLocal(bind=self.reading)

    def facts(self) -> Facts:
        """The audit of what is committed."""
        with self.session() as session:
            return audit.facts(session)

    def survivors(self) -> dict[str, Survivor]:
        """What survives of the run, by operation id."""
        with self.session() as session:
            return {found.op: found for found in operations_service.survivors(session, RUN)}

    def user(self, name: str) -> int:
        """A new user with the welcome points; the password is never asked for here."""
        return int(self.apply(user_service.sign_up, name, "no password")["id"])

    def points(self, user_id: int) -> int:
        """The user's balance."""
        return int(self.read(user_service.profile, user_id)["points"])


class SqliteGym(Gym):
    """One in a SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        url = f"sqlite:///{path}"
        writing = engine_for(url, writer=True)
        event.listen(writing, "connect", _in_haste)
        super().__init__(url, writing)
        self.batches = Batches(writing, path, Failpoints(None), job_budget_s=30.0)

    def close(self) -> None:
        super().close()
        self.batches.close()

    def run(self, asks: Sequence[Ask]) -> list[Answer]:
        return self.batches.run(asks)

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite.connect(self.path)) as connection:
            rows: list[tuple[Any, ...]] = connection.execute(statement, values).fetchall()
        return rows

    def tamper(self, *statements: str) -> None:
        with contextlib.closing(sqlite.connect(self.path)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for statement in statements:
                assert connection.execute(statement).rowcount != 0, statement
            connection.commit()


class PostgresGym(Gym):
    """One in a database of a PostgreSQL server, made from a template or empty, and dropped in the end."""

    def __init__(self, server: Server, name: str, template: str = "template1") -> None:
        self.server, self.name = server, name
        with server.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        writing = engine_for(server.url(name), writer=True)
        super().__init__(server.url(name), writing)
        self._sessions = Sessions(writing, Failpoints(None), 1)

    def close(self, *, drop: bool = True) -> None:
        super().close()
        self._sessions.close()
        if drop:
            with self.server.connect("postgres") as connection:
                connection.execute(f'DROP DATABASE "{self.name}" WITH (FORCE)')

    def run(self, asks: Sequence[Ask]) -> list[Answer]:
        return [self._sessions.answer(one) for one in asks]

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.server.connect(self.name) as connection:
            return connection.execute(statement.replace("?", "%s"), values or None).fetchall()

    def tamper(self, *statements: str) -> None:
        with self.server.connect(self.name) as connection:
            connection.execute("SET session_replication_role = replica")  # foreign keys are triggers
            for table, check in connection.execute(_CHECKS).fetchall():
                connection.execute(f'ALTER TABLE "{table}" DROP CONSTRAINT "{check}"')
            for statement in statements:
                assert connection.execute(statement).rowcount != 0, statement


_CHECKS = """
SELECT conrelid::regclass::text, conname FROM pg_constraint
WHERE contype = 'c' AND connamespace = 'public'::regnamespace
"""


def _in_haste(connection: Any, _entry: object) -> None:
    """No fsync: what is tested here are rules, and the machine does not fail meanwhile."""
    connection.execute("PRAGMA synchronous = OFF")


def faults(facts: Facts) -> list[str]:
    """Everything in an audit that must not be there; empty when the state is sound."""
    found = []
    points = facts.conservation
    if points.balances + points.escrow + points.pools != points.minted:
        found.append("points are not conserved")
    found += [f"account {one} is off" for one in points.accounts_off]
    found += [f"account {one} is negative" for one in points.negative]
    for one in facts.tournaments:
        if one.entries > one.capacity:
            found.append(f"tournament {one.id} is over its capacity")
        if one.winners != (one.state == "finished") or one.payouts > one.winners:
            found.append(f"tournament {one.id} has {one.winners} winners and {one.payouts} payouts")
    found += [f"{relation}: {row}" for relation, rows in facts.orphans.items() for row in rows]
    found += [f"missing: {one}" for one in facts.notifications.missing]
    found += [f"extra: {one}" for one in facts.notifications.extra]
    return found


def busy_day(gym: Gym) -> None:
    """One of everything: every job is applied at least once, and every table has rows.

    Users 1 to 4; tournament 1 finished with user 2 as the winner, tournament 2 open; challenges 1 settled, 2 declined,
    3 expired from escrow, 4 accepted, 5 issued; user 1 has read everything, user 2 one thing.
    """
    ann, bob, cid, dan = (gym.user(name) for name in ("ann", "bob", "cid", "dan"))
    gym.apply(user_service.log_in, ann, "0" * 64, gym.now_ms + 1_000, None, actor=ann)
    gym.apply(user_service.log_out, "0" * 64, actor=ann)
    gym.apply(user_service.edit_profile, "Ann", "Climbs.", actor=ann)

    for fee in (50, 0):
        gym.apply(tournament_service.create, "Cup", 3, fee, actor=ann)
    for tournament in (1, 2):
        gym.apply(tournament_service.open_, tournament, actor=ann)
    for user in (bob, cid):
        gym.apply(tournament_service.join, 1, actor=user)
    gym.apply(match_service.pair, 1, bob, cid, actor=ann)
    gym.apply(match_service.score, 1, "home", 3, actor=bob)
    gym.apply(match_service.score, 1, "away", 1, actor=cid)
    gym.apply(match_service.close, 1, actor=ann)
    gym.apply(tournament_service.finish, 1, actor=ann)
    gym.apply(tournament_service.join, 2, actor=dan)

    for opponent in (bob, cid, dan):
        gym.apply(challenge_service.issue, opponent, 10, "Rowing", actor=ann)
    gym.apply(challenge_service.accept, 1, actor=bob)
    gym.apply(challenge_service.settle, 1, ann, actor=bob)
    gym.apply(challenge_service.decline, 2, actor=cid)
    gym.apply(challenge_service.accept, 3, actor=dan)
    gym.now_ms += challenge_service.LIFETIME_MS
    gym.apply(challenge_service.expire_due, 100, gym.now_ms)
    gym.apply(challenge_service.issue, cid, 20, "Ropes", actor=bob)
    gym.apply(challenge_service.accept, 4, actor=cid)
    gym.apply(challenge_service.issue, dan, 30, "Rings", actor=cid)

    gym.apply(notification_service.deliver_due, 1_000, gym.now_ms)
    gym.apply(notification_service.mark_read, 1, actor=bob)
    gym.apply(notification_service.mark_all_read, actor=ann)
    _deliver_as_before(gym)
    admin_day(gym)


def _deliver_as_before(gym: Gym) -> None:
    """One attempt where the version before `delivery_records` logged it."""
    engine = engine_for(gym.url, writer=True, pooled=False)
    with SessionLocal(bind=engine) as session:
        session.add(DeliveryAttempt(outbox_id=1, attempt=1, outcome="delivered", error="", at_ms=gym.now_ms))
        session.commit()


def admin_day(gym: Gym) -> None:
    """One of everything in the admin part: ada is an admin, otto an operator who has a token and no session left."""
    by = By("ada", "192.0.2.1", account_id=1).plain()
    for name, role in (("ada", "admin"), ("otto", "viewer")):
        gym.apply(account_service.create, by, name, role, "hashed")
    for session in range(4):
        gym.apply(session_service.begin, by, 1, "hashed", f"{session:064}", "192.0.2.1", "", gym.now_ms, None, None)
    gym.apply(session_service.revoke, by, 1, None)
    gym.apply(session_service.revoke_others, by, 1, 2)
    gym.apply(account_service.change_role, by, 2, "operator")
    gym.apply(account_service.set_password, by, 2, "hashed again", None)
    gym.apply(account_service.disable, by, 2)
    gym.apply(account_service.enable, by, 2)
    for token in range(2):
        gym.apply(token_service.create, by, 1, "bot", f"{token:064}", ["read:boards"], gym.now_ms)
    gym.apply(token_service.revoke, by, 1)
