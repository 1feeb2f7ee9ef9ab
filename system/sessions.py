"""The write lane on PostgreSQL: a handful of sessions, each job a transaction of its own, run again when it may be.

    ask ── queue ── session ── begin, job, digest, record, commit ── answer
                       ▲            │ deadlock, serialization failure, lost connection
                       └── again ───┘

A lost connection leaves a commit in doubt, and running the job again resolves it: the operation's id is unique, so the
second transaction waits until the first one's fate is decided, and finds its record or takes its place.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable, Hashable, Iterator

import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from system import sqlstate
from system.apply import apply, unavailable, unknown, worth_a_look
from system.database import SessionLocal
from system.errors import DATABASE_FENCED, READ_ONLY, ServiceError
from system.failpoints import Failpoints
from system.metrics import WRITE_RETRIES
from system.statements import CommitFailed, Session
from system.wire import Answer, Ask

FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.5
_AWAY = ("no-connection", "connection-lost")

log = structlog.get_logger()


class _Again(Exception):
    """The job may be run again. `doubt` says that the attempt may have been committed."""

    def __init__(self, reason: str, cause: BaseException, *, doubt: bool = False) -> None:
        super().__init__(str(cause))
        self.reason = reason
        self.doubt = doubt


class _Unlooked(Exception):
    """The job failed, and nobody has looked whether its operation was applied before."""


class Sessions:
    """Runs jobs on `count` connections at once, from threads of its own. `answered` is called from them."""

    def __init__(
        self,
        engine: Engine,
        failpoints: Failpoints,
        count: int,
        answered: Callable[[Hashable, Answer], None] = lambda _, __: None,
    ) -> None:
        self._engine = engine
        self._failpoints = failpoints
        self.answered = answered
        self._queue: queue.SimpleQueue[tuple[Hashable, Ask] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"session-{n}", daemon=True) for n in range(count)]
        self.fenced = ""
        self._idle: queue.SimpleQueue[Session] = queue.SimpleQueue()
        for _ in range(count):
            self._idle.put(SessionLocal(bind=engine))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Everything submitted has been answered; the connections are closed."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        for _ in self._threads:
            self._idle.get().close()
        self._engine.dispose()

    def submit(self, key: Hashable, ask: Ask) -> None:
        """The job is run as soon as a session is free; `answered` gets the key back with its answer."""
        self._queue.put((key, ask))

    def answer(self, ask: Ask) -> Answer:
        """The answer to one job, after its commit, or after it is certain or as unknown as it will stay."""
        began = time.monotonic()
        answer = self._answer(ask)
        return answer.timed(began) if began <= ask.deadline else answer

    def _answer(self, ask: Ask) -> Answer:
        doubt, pause_s = "", FIRST_PAUSE_S
        away, look = False, False
        while not self.fenced:
            if time.monotonic() > ask.deadline:
                break
            try:
                return self._attempt(ask, look=look)
            except _Unlooked:
                look = True
            except _Again as again:
                look = True
                away = again.reason in _AWAY
                WRITE_RETRIES.labels(again.reason).inc()
                if again.doubt:
                    doubt = "The connection was lost while the commit was under way."
                log.info("job is run again", job=ask.job, operation=ask.operation.id, reason=again.reason)
                time.sleep(min(pause_s * random.uniform(0.5, 1.5), max(0.0, ask.deadline - time.monotonic())))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        if doubt:
            return unknown(ask.number, "commit-unknown", doubt)
        if self.fenced:
            return unavailable(ask, DATABASE_FENCED, self.fenced)
        if away:
            return unavailable(ask, READ_ONLY, "The database server could not be reached for writing.")
        return unavailable(ask, "deadline-passed", "The database did not get to it before its deadline.")

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            key, ask = item
            try:
                answer = self.answer(ask)
            except Exception as error:  # noqa: BLE001  # the outermost line of a session: it answers and goes on
                log.error("session failed", job=ask.job, operation=ask.operation.id, error=repr(error))
                answer = unknown(ask.number, "session-failed", "The operation failed, and its outcome is not known.")
            self.answered(key, answer)

    def _attempt(self, ask: Ask, *, look: bool) -> Answer:
        began = time.monotonic()
        with self._idle_one(ask.deadline) as session:
            try:
                answer = apply(session, ask, self._failpoints, lambda: _break(session), look=look, alone=True)
                session.finish()
            except CommitFailed as failed:
                _roll_back(session)
                self._distrust(failed.cause)
                certain = sqlstate.rolled_back(failed.cause)
                raise _Again("commit", failed.cause, doubt=not certain) from failed
            except Exception as error:  # the outermost line of a job: it fails alone
                _roll_back(session, healthy=isinstance(error, ServiceError))
                if not look and worth_a_look(ask, error):
                    raise _Unlooked from error
                return self._refusal(ask, error)
        return msgspec.structs.replace(answer, database_ms=(time.monotonic() - began) * 1000, batch=1)

    @contextlib.contextmanager
    def _idle_one(self, deadline: float) -> Iterator[Session]:
        """A session that nobody uses; it keeps its connection from job to job. Raises _Again when none is free in time."""
        try:
            session = self._idle.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty as error:
            raise _Again("no-session", error) from error
        try:
            yield session
        finally:
            self._idle.put(session)

    def _refusal(self, ask: Ask, error: Exception) -> Answer:
        """The answer to a job that failed before its commit, and so left nothing. Raises _Again when it may be run again."""
        if isinstance(error, ServiceError):
            return Answer(ask.number, error.kind, error.code, error.message)
        if isinstance(error, PoolTimeout):
            raise _Again("no-connection", error) from error
        if isinstance(error, DBAPIError):
            self._distrust(error)
            if unwritable := sqlstate.unwritable(error):
                return unavailable(ask, READ_ONLY, unwritable)
            if sqlstate.rolled_back(error):
                raise _Again(sqlstate.state(error), error) from error
            if sqlstate.lost(error):
                raise _Again("connection-lost", error) from error
            if sqlstate.timed_out(error):
                return unavailable(ask, "job-too-long", "The job ran over its time.")
        log.error("job failed", job=ask.job, operation=ask.operation.id, error=repr(error))
        return unavailable(ask, "job-failed", "The operation failed and was rolled back.", error)

    def _distrust(self, error: BaseException) -> None:
        if (wrong := sqlstate.fatal(error)) and not self.fenced:
            self.fenced = f"The database {wrong}."
            log.error("database fenced", reason=self.fenced)


def _roll_back(session: Session, *, healthy: bool = False) -> None:
    """The transaction is undone. Unless all is well with the connection, the next job begins with another."""
    if healthy:
        try:
            session.undo()
        except SQLAlchemyError:
            pass
        else:
            return
    with contextlib.suppress(SQLAlchemyError):
        session.rollback()
    with contextlib.suppress(SQLAlchemyError):
        session.close()


def _break(session: Session) -> None:
    """The connection under the session is closed behind its back."""
    raw = session.connection().connection.driver_connection
    assert raw is not None
    raw.close()
