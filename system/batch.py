"""Group commit: many jobs, one transaction, one fsync; each job alone in its savepoint.

    begin ── savepoint ─ job 1 ─ digest ─ record ─ release ┐
             savepoint ─ job 2 ─ raises ─ roll back        ├─ commit ── the file is still ours ── answers
             savepoint ─ job 3 ─ digest ─ record ─ release ┘

An answer exists only after the commit that holds its effect, and with `shipping` only after that commit is durable elsewhere
too. When the transaction itself is lost (the connection broke, an interrupted statement took it along), nothing of the batch
was applied, and it is run again without the job that did it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from system import watch
from system.apply import apply, unavailable, unknown, worth_a_look
from system.database import SessionLocal
from system.errors import DATABASE_FENCED, READ_ONLY, ServiceError
from system.failpoints import Failpoints
from system.shipping import NotShipped, Shipping
from system.statements import Session
from system.wire import Answer, Ask

ATTEMPTS = 3
_INSTRUCTIONS_BETWEEN_LOOKS = 20_000

log = structlog.get_logger()


class _Aborted(Exception):
    """The transaction is gone and nothing of it was kept; `culprit` is the job to leave out, None when it was none's."""

    def __init__(self, culprit: Ask | None, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.culprit = culprit
        self.cause = cause


@dataclass(slots=True)
class _Budget:
    """When the running job must let go of the database, on the monotonic clock."""

    end: float = float("inf")


class Batches:
    """Runs batches of jobs against one SQLite database, as its only writer.

    After `fenced` is not empty every job is refused: the file is not the one that was opened, or cannot be trusted. That
    stays so until the process ends; whoever restores the database starts a new one.
    """

    def __init__(
        self,
        engine: Engine,
        path: Path,
        failpoints: Failpoints,
        job_budget_s: float,
        shipping: Shipping | None = None,
    ) -> None:
        self._engine = engine
        self._failpoints = failpoints
        self._job_budget_s = job_budget_s
        self._shipping = shipping
        self._budget = _Budget()
        self._held: _Held | None = None
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        self._identity = watch.FileIdentity.of(path)
        self.fenced = ""

    def close(self) -> None:
        """Lets go of the database: the last connection's close checkpoints the WAL into the file."""
        if self._shipping is not None:
            self._shipping.close()
        if self._held is not None:
            self._held.connection.close()
        self._engine.dispose()

    def look(self) -> str:
        """Looks whether the file is still ours; returns (and keeps) what fenced us, empty when all is well."""
        if not self.fenced:
            self._fence(self._identity.trouble())
        return self.fenced

    def run(self, asks: Sequence[Ask]) -> list[Answer]:
        """Applies the jobs in order and commits once. One answer per job, in any order."""
        began = time.monotonic()
        return [answer.timed(began) for answer in self._run(asks)]

    def _run(self, asks: Sequence[Ask]) -> list[Answer]:
        refused: list[Answer] = []
        left = list(asks)
        for _ in range(ATTEMPTS):
            if self.look():
                break
            try:
                return refused + self._attempt(left)
            except _Aborted as aborted:
                log.warning("batch rolled back", jobs=len(left), cause=str(aborted.cause))
                self._fence(self._distrust(aborted.cause))
                if aborted.culprit is not None:
                    left.remove(aborted.culprit)
                    refused.append(unavailable(aborted.culprit, "job-too-long", "The job ran over its time."))
                unwritable = watch.unwritable(aborted.cause)
                if unwritable and not self.fenced:
                    return refused + [unavailable(ask, READ_ONLY, unwritable) for ask in left]
        reason = self.fenced or "The database connection was lost."
        code = DATABASE_FENCED if self.fenced else "connection-lost"
        return refused + [unavailable(ask, code, reason) for ask in left]

    def _attempt(self, asks: Sequence[Ask]) -> list[Answer]:
        began = time.monotonic()
        try:
            held = self._held = self._held or _Held(self._engine, self._over_budget)
            held.session.command("BEGIN IMMEDIATE")
            answers = [self._job(held.session, held.raw, ask) for ask in asks]
            self._budget.end = float("inf")
        except DBAPIError as error:  # outside every job: the transaction could not even begin
            self._discard()
            raise _Aborted(None, error) from error
        except _Aborted:
            self._discard()
            raise
        try:
            self.commit()
        except DBAPIError as error:
            self._discard()
            return self._uncommitted(asks, answers, error)
        ours = not self.look()
        committed = time.monotonic()
        code, doubt = DATABASE_FENCED, self.fenced
        if ours and not all(answer.kind for answer in answers):
            code, doubt = "not-shipped", self.ship()
        told = {
            "database_ms": (committed - began) * 1000,
            "shipped_ms": (time.monotonic() - committed) * 1000 if self._shipping else 0.0,
            "batch": len(asks),
        }
        return [
            unknown(answer.number, code, doubt)
            if doubt and not answer.kind
            else msgspec.structs.replace(answer, **told)
            for answer in answers
        ]

    def commit(self) -> None:
        """The transaction is durable. Raises DBAPIError."""
        assert self._held is not None
        self._held.commit()

    def ship(self) -> str:
        """Waits until every commit so far is durable elsewhere, if that is wanted; else why it is not known to be so.

        The commit stands either way, so what was in it is then unknown, never refused.
        """
        if self._shipping is None:
            return ""
        try:
            self._shipping.wait()
        except NotShipped as error:
            log.error("commit not shipped", error=str(error))
            return str(error)
        return ""

    def _over_budget(self) -> int:
        return time.monotonic() > self._budget.end

    def _job(self, session: Session, raw: Any, ask: Ask, *, look: bool = False) -> Answer:
        now = time.monotonic()
        if now > ask.deadline:
            return unavailable(ask, "deadline-passed", "The job waited longer than its deadline.")
        self._budget.end = now + self._job_budget_s
        savepoint = session.savepoint()
        try:
            answer = apply(session, ask, self._failpoints, raw.close, look=look)
        except Exception as error:  # the outermost line of a job: it fails alone, whatever it raised
            if not raw_in_transaction(raw):
                raise _Aborted(ask if watch.interrupted(error) else None, error) from error
            self.roll_back(savepoint)
            if not look and worth_a_look(ask, error):
                return self._job(session, raw, ask, look=True)
            return self._refusal(ask, error)
        savepoint.commit()
        return answer

    def roll_back(self, savepoint: Any) -> None:
        """Undoes everything since the savepoint, and nothing before it."""
        savepoint.rollback()

    def _refusal(self, ask: Ask, error: Exception) -> Answer:
        if isinstance(error, ServiceError):
            return Answer(ask.number, error.kind, error.code, error.message)
        if isinstance(error, DBAPIError):
            self._fence(self._distrust(error))
            if unwritable := watch.unwritable(error):
                return unavailable(ask, READ_ONLY, unwritable)
        log.error("job failed", job=ask.job, operation=ask.operation.id, error=repr(error))
        return unavailable(ask, "job-failed", "The operation failed and was rolled back.", error)

    def _uncommitted(self, asks: Sequence[Ask], answers: list[Answer], error: DBAPIError) -> list[Answer]:
        # Busy and full are reported before a frame becomes valid; any other error may leave a commit that a crash replays.
        log.error("commit failed", jobs=len(asks), error=str(error.orig))
        self._fence(self._distrust(error))
        if unwritable := watch.unwritable(error):
            return [unavailable(ask, READ_ONLY, unwritable) for ask in asks]
        if watch.transient(error):
            return [unavailable(ask, "commit-refused", "The database took no writes.") for ask in asks]
        return [
            answer if answer.kind else unknown(answer.number, "commit-unknown", "The commit's outcome is not known.")
            for answer in answers
        ]

    def _distrust(self, error: BaseException) -> str:
        wrong = watch.fatal(error)
        return f"The database file {self._identity.path} {wrong}." if wrong else self._identity.trouble()

    def _discard(self) -> None:
        """The connection is never used again; whatever its transaction held is rolled back by its closing."""
        if self._held is not None:
            self._held.connection.invalidate()
            self._held.connection.close()
            self._held = None

    def _fence(self, reason: str) -> None:
        if reason and not self.fenced:
            self.fenced = reason
            log.error("database fenced", reason=reason)


class _Held:
    """The connection that writes, and its session: opening them for each batch would take longer than a job does."""

    def __init__(self, engine: Engine, over_budget: Callable[[], int]) -> None:
        self.connection = engine.connect()
        self.session: Session = SessionLocal(bind=self.connection)
        self.raw = self.session.hold(self.connection)
        self.raw.set_progress_handler(over_budget, _INSTRUCTIONS_BETWEEN_LOOKS)

    def commit(self) -> None:
        """What was done since the transaction began is durable. Raises DBAPIError."""
        if self.session.in_transaction():  # SQLAlchemy took part in it.
            self.session.commit()
            self.session.hold(self.connection)
        else:
            self.session.command("COMMIT")


def raw_in_transaction(raw: Any) -> bool:
    """True while the driver's connection is open and inside a transaction."""
    try:
        return bool(raw.in_transaction)
    except Exception:  # noqa: BLE001  # a closed connection answers with an error, and that is the answer
        return False
