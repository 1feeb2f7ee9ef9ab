"""One job in its caller's transaction: a known operation is answered as it was, a new one leaves its record too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
from sqlalchemy.exc import IntegrityError

from system import operations_service as operations
from system import user_service
from system.errors import ServiceError, Unauthorised
from system.failpoints import FAIL_IN_TRANSACTION, KILL_CONNECTIONS, Failpoints, Injected
from system.jobs import JOBS, NOTHING_HAPPENED, Operation, Reply, fingerprint
from system.reporting.fingerprints import cause_of
from system.statements import Session
from system.wire import Answer, Ask


def apply(
    session: Session,
    ask: Ask,
    failpoints: Failpoints,
    break_connection: Callable[[], None],
    *,
    look: bool = True,
    alone: bool = False,
) -> Answer:
    """The answer to give once the transaction is committed. Raises whatever the job raises, and then nothing may be kept.

    Without a `look` whether the operation was applied before, one that was raises something too: its id is unique. A
    transaction that is this job's `alone` is committed with the operation's record.
    """
    operation = called(session, ask)
    known = operations.stored(session, operation.id) if look else None
    if known is not None:
        return replay(ask.number, operation, known)
    job = JOBS[ask.job]
    reply: Reply = job(session, operation, *ask.args)
    session.flush()
    if failpoints.hit(KILL_CONNECTIONS, operation.id, job.domain):
        session.settle()
        break_connection()
    if failpoints.hit(FAIL_IN_TRANSACTION, operation.id, job.domain):
        session.settle()
        raise Injected(FAIL_IN_TRANSACTION)
    if reply is NOTHING_HAPPENED:
        return Answer(ask.number, status=reply.status, actor_id=operation.actor_id)
    body = msgspec.json.encode(reply.body)
    digest = operations.digest_of(session, operation.id, job.leaves)
    sequence = operations.save(session, operation, ask.job, digest, reply.status, body, alone=alone)
    return Answer(
        ask.number, status=reply.status, body=body, digest=digest, sequence=sequence, actor_id=operation.actor_id
    )


def called(session: Session, ask: Ask) -> Operation:
    """The operation with its actor. Raises Unauthorised when whoever calls has no session just now."""
    operation, caller = ask.operation, ask.caller
    if caller is None:
        return operation
    actor_id = user_service.require_session(session, caller.token_hash, operation.at_ms)
    return replace(operation, actor_id=actor_id, fingerprint=fingerprint(actor_id, caller.asked))


def replay(number: int, operation: Operation, known: operations.Stored) -> Answer:
    """What the operation was answered when it was applied; a refusal when it was another request."""
    if known.fingerprint != operation.fingerprint:
        return Answer(
            number,
            "reused",
            "operation-reused",
            f"Operation {operation.id} was already applied with a different request.",
        )
    return Answer(
        number,
        status=known.status,
        body=known.response,
        digest=known.digest,
        sequence=known.sequence,
        replayed=True,
        actor_id=operation.actor_id,
    )


def worth_a_look(ask: Ask, error: Exception) -> bool:
    """Whether a job that failed so, unlooked, may have been applied before; nearly always an operation is new.

    That a caller has no session is told before anything that was applied.
    """
    if ask.caller is not None and isinstance(error, Unauthorised):
        return False
    return isinstance(error, (ServiceError, IntegrityError))


def unavailable(ask: Ask, code: str, message: str, broken_by: BaseException | None = None) -> Answer:
    """It is certain that nothing of the job was kept. What it was broken by is told for the records."""
    cause = None if broken_by is None else cause_of(broken_by)
    return Answer(ask.number, "unavailable", code, message, cause=cause)


def unknown(number: int, code: str, message: str) -> Answer:
    """The job may have been applied or not."""
    return Answer(number, "outcome-unknown", code, message)
