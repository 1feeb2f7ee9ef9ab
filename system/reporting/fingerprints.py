"""What makes two errors the same one: their type, their code, and the place in the service's own code where they arose.

No line numbers, no ids, no texts: the same error after a release, of another user, is still the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from system.errors import ServiceError
from system.scrub import scrubbed

MESSAGE_CHARACTERS = 300
PLACE_CHARACTERS = 120
_PLUMBING = ("apply", "batch", "dispatch", "edge", "jobs", "lanes", "libpq", "reads", "sessions", "statements")
"""Modules that every request and every job passes through: where an error was met, not where it arose."""

Cause = tuple[str, str, str]
"""Type, place and message of an error, without a secret in it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One error as it is recorded. Those with the same fingerprint are one group."""

    kind: str
    code: str
    place: str
    status: int
    message: str

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits, the same for ever for the same type, code and place."""
        told = "\0".join((self.kind, self.code, self.place))
        return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


def fault_of(error: BaseException | None, status: int, flow: str) -> Fault:
    """The fault that `error` is, met while `flow` was answered with `status`."""
    if error is None:
        return Fault("unknown", str(status), flow, status, "The answer was made without an error being raised.")
    if not isinstance(error, ServiceError):
        kind, place, message = cause_of(error)
        return Fault(kind, "internal", place or flow, status, message)
    kind, place, message = error.cause or (type(error).__name__, flow, scrubbed(error.message))
    return Fault(kind, error.code, place or flow, status, message[:MESSAGE_CHARACTERS])


def cause_of(error: BaseException) -> Cause:
    """What is told of an error that nobody expected. A database's is told by its own words, never with its parameters."""
    told: BaseException = (error.orig or error) if isinstance(error, DBAPIError) else error
    first = next(iter(str(told).replace("\0", "").strip().splitlines()), "")
    return type(told).__name__[:80], _place(error), scrubbed(first)[:MESSAGE_CHARACTERS]


def _place(error: BaseException) -> str:
    """Module and function of the innermost frame that is the service's own and no plumbing, else of any of its own."""
    found = plumbing = ""
    step = error.__traceback__
    while step is not None:
        package, _, module = str(step.tb_frame.f_globals.get("__name__", "")).partition(".")
        if package == "system":
            place = f"{module}.{step.tb_frame.f_code.co_name}"
            if module in _PLUMBING:
                plumbing = place
            else:
                found = place
        step = step.tb_next
    return (found or plumbing)[:PLACE_CHARACTERS]
