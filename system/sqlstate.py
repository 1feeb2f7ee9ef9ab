"""What a PostgreSQL error means for whoever met it, by its SQLSTATE (PostgreSQL, appendix A)."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

SERIALIZATION_FAILURE = "40001"
DEADLOCK_DETECTED = "40P01"
LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"
UNIQUE_VIOLATION = "23505"
UNDEFINED_TABLE = "42P01"

_UNWRITABLE = {
    "25006": "The database server takes no writes: it is read-only or in recovery.",
    "53100": "The database server's disk is full.",
}

_DAMAGED = {"XX001": "is damaged", "XX002": "has a damaged index", "58030": "cannot be read or written"}
_AWAY = ("08", "57P", "53300")
"""Connection exceptions, a server that ends or starts, too many connections."""


def state(error: BaseException) -> str:
    """The SQLSTATE behind an error, empty when the server did not get to send one."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(original, "sqlstate", None) or "")


def fatal(error: BaseException) -> str:
    """What is wrong with the data when `error` says that it cannot be trusted any more, else empty."""
    return _DAMAGED.get(state(error), "")


def unwritable(error: BaseException) -> str:
    """Why nothing can be written for now though everything can be read, else empty."""
    return _UNWRITABLE.get(state(error), "")


def lost(error: BaseException) -> bool:
    """True when the connection is gone, or could not be made: the transaction, if there was one, is the server's to end."""
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or not state(error) or state(error).startswith(_AWAY)


def timed_out(error: BaseException) -> bool:
    """True when the statement ran over its time."""
    return state(error) == QUERY_CANCELED and "timeout" in str(error)


def rolled_back(error: BaseException) -> bool:
    """True when the server rolled the transaction back, for no fault of its own: the whole of it may be run again."""
    if state(error) == UNIQUE_VIOLATION:
        return "operations" in str(getattr(getattr(error, "orig", None), "diag", None) and error.orig.diag.table_name)  # type: ignore[attr-defined]
    return state(error) in (SERIALIZATION_FAILURE, DEADLOCK_DETECTED, LOCK_NOT_AVAILABLE) or (
        state(error) == QUERY_CANCELED and not timed_out(error)
    )
