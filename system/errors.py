"""What a rule of the platform can say no with: a stable code and a sentence, and no HTTP.

`app.py` alone turns these into RFC 9457 problems. A raised error means that nothing of the operation was applied, with one
exception that says so itself: `OutcomeUnknown`.
"""

from __future__ import annotations

from typing import ClassVar

READ_ONLY = "read-only"
"""Code of the Unavailable that says that nothing can be written for now; reading goes on."""
DATABASE_FENCED = "database-fenced"
"""Code of the refusal for that the database file is not the one that was opened, or cannot be trusted."""


class ServiceError(Exception):
    """Base of the family. `code` is stable and machine-readable; `str()` is one sentence for people."""

    kind: ClassVar[str] = "internal"

    def __init__(self, code: str, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.cause: tuple[str, str, str] | None = None
        """Type, place and message of what broke in another process, for the records; clients are not told."""


class Invalid(ServiceError):
    """The request contradicts a rule that no retry can change."""

    kind = "invalid"


class TooLarge(ServiceError):
    """The request's body is larger than the service reads."""

    kind = "too-large"


class Unauthorised(ServiceError):
    """No session, or one that is unknown, expired or revoked."""

    kind = "unauthorised"


class Forbidden(ServiceError):
    """The caller is known, and this is not theirs to do."""

    kind = "forbidden"


class NotFound(ServiceError):
    """The thing named does not exist."""

    kind = "not-found"


class Conflict(ServiceError):
    """The thing exists in a state that does not allow this: full, closed, already done, too few points."""

    kind = "conflict"


class Reused(ServiceError):
    """An operation id came back with a different request."""

    kind = "reused"


class Unavailable(ServiceError):
    """Not now: a full queue, a passed deadline, a fenced database. Nothing was applied; trying again is safe."""

    kind = "unavailable"


class RateLimited(ServiceError):
    """This client has asked for more than its share. Nothing was done; trying again later is safe."""

    kind = "rate-limited"


class OutcomeUnknown(ServiceError):
    """The writer was lost between accepting the job and answering. Ask `/operations/{id}` before trying again."""

    kind = "outcome-unknown"
