"""One job in its caller's transaction: a known operation is answered as it was, a new one leaves its record too."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from system import operations_service as operations
from system.failpoints import FAIL_IN_TRANSACTION, KILL_CONNECTIONS, Failpoints, Injected
from system.jobs import JOBS, NOTHING_HAPPENED, Reply
from system.reporting.fingerprints import cause_of
from system.statements import Session
from system.wire import Answer, Ask


def apply(
    session: Session, ask: Ask, failpoints: Failpoints, break_connection: Callable[[], None], *, look: bool = True
) -> Answer:
    """The answer to give once the transaction is committed. Raises whatever the job raises, and then nothing may be kept.

    Without a `look` whether the operation was applied before, one that was raises something too: its id is unique.
    """
    known = operations.stored(session, ask.operation.id) if look else None
    if known is not None:
        return replay(ask, known)
    job = JOBS[ask.job]
    reply: Reply = job(session, ask.operation, *ask.args)
    session.flush()
    if failpoints.hit(KILL_CONNECTIONS, ask.operation.id, job.domain):
        break_connection()
    if failpoints.hit(FAIL_IN_TRANSACTION, ask.operation.id, job.domain):
        raise Injected(FAIL_IN_TRANSACTION)
    if reply is NOTHING_HAPPENED:
        return Answer(ask.number, status=reply.status)
    body = msgspec.json.encode(reply.body)
    digest = operations.digest_of(session, ask.operation.id, job.leaves)
    sequence = operations.save(session, ask.operation, ask.job, digest, reply.status, body)
    return Answer(ask.number, status=reply.status, body=body, digest=digest, sequence=sequence)


def replay(ask: Ask, known: operations.Stored) -> Answer:
    """What the operation was answered when it was applied; a refusal when it was another request."""
    if known.fingerprint != ask.operation.fingerprint:
        return Answer(
            ask.number,
            "reused",
            "operation-reused",
            f"Operation {ask.operation.id} was already applied with a different request.",
        )
    return Answer(
        ask.number,
        status=known.status,
        body=known.response,
        digest=known.digest,
        sequence=known.sequence,
        replayed=True,
    )


def unavailable(ask: Ask, code: str, message: str, broken_by: BaseException | None = None) -> Answer:
    """It is certain that nothing of the job was kept. What it was broken by is told for the records."""
    cause = None if broken_by is None else cause_of(broken_by)
    return Answer(ask.number, "unavailable", code, message, cause=cause)


def unknown(number: int, code: str, message: str) -> Answer:
    """The job may have been applied or not."""
    return Answer(number, "outcome-unknown", code, message)
