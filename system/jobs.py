"""The words between a handler and a lane: a job, the operation that asks for it, and the reply.

A job is a module-level service function and plain arguments, so that a lane is free to run it in another thread or another
process. Registering it by name keeps that other process from running anything but jobs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate

from system.statements import Session


def now_ms() -> int:
    """The wall clock: UTC, epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Operation:
    """Who asks for a write, under which id, and when.

    `id` is chosen by the client and unique for ever; `fingerprint` identifies the request, so that a repeated id with
    another request is refused; `at_ms` is the wall clock in UTC, epoch milliseconds, used for every row the job writes.
    """

    id: str
    run: str
    actor_id: int | None
    fingerprint: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, where that is still to be found out: whoever the session of the token that hashes to this belongs to.

    It is found out in the transaction of the write itself. `asked` is what `fingerprint` wants to know of the request.
    """

    token_hash: str
    asked: bytes


def fingerprint(actor_id: int | None, asked: bytes) -> str:
    """What identifies a request: who asks, and for what."""
    return hashlib.blake2b(f"{actor_id}\0".encode() + asked, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a job answers: an HTTP status and a body msgspec can encode. Stored with the operation, word for word."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Job:
    """A registered write job; calling it runs the function. `domain` names the bulkhead whose places it takes.

    `leaves` are the tables where rows of its operation may lie, besides its activity row: no other needs to be looked at
    for its digest, and so no other, when it is locked or slow, can hold it up.
    """

    function: Callable[..., Reply]
    domain: str
    name: str
    leaves: tuple[str, ...]

    def __call__(self, session: Session, operation: Operation, *args: Any) -> Reply:
        """Runs the function in the caller's transaction. Raises what it raises."""
        return self.function(session, operation, *args)


RECORDS = "records"
"""The domain of the service's own records: nobody waits for its jobs."""

NOTHING_HAPPENED = Reply(204, None)
"""For the service's own jobs (a heartbeat, a worker that found no work): committed, but no operation is recorded."""

JOBS: dict[str, Job] = {}


def write_job(domain: str, *leaves: str) -> Callable[[Callable[Concatenate[Session, Operation, ...], Reply]], Job]:
    """Registers a function `(session, operation, *plain arguments) -> Reply` as a write job of `domain`.

    `leaves` names the tables into which it writes rows with the operation's id.

    The function may read and write through the session and may raise any `ServiceError`; it never commits. Its name is
    that of its module, without `_service`, and its own: `challenge.settle`.
    """

    def register(function: Callable[Concatenate[Session, Operation, ...], Reply]) -> Job:
        module = function.__module__.rpartition(".")[2].removesuffix("_service")
        job = Job(function, domain, f"{module}.{function.__name__}", leaves)
        JOBS[job.name] = job
        return job

    return register
