"""Readiness' own write: small, real, and never recorded as an operation."""

from __future__ import annotations

from sqlalchemy import Table, bindparam, insert, select, update

from system.health_models import HealthBeat
from system.jobs import NOTHING_HAPPENED, Operation, Reply, write_job
from system.statements import Reader, Session

beats: Table = HealthBeat.__table__  # type: ignore[assignment]
_THE_ONE = 1

_UPDATE = update(beats).where(beats.c.id == _THE_ONE).values(beat=bindparam("value"), at_ms=bindparam("now_ms"))
_INSERT = insert(beats)
_SELECT = select(beats.c.beat).where(beats.c.id == _THE_ONE)


@write_job("health")
def beat(session: Session, operation: Operation, value: int) -> Reply:
    """The row holds `value` once this is committed."""
    if session.execute(_UPDATE, {"value": value, "now_ms": operation.at_ms}).rowcount == 0:
        session.execute(_INSERT, {"id": _THE_ONE, "beat": value, "at_ms": operation.at_ms})
    return NOTHING_HAPPENED


def last_beat(connection: Reader) -> int | None:
    """The value the row holds, None before the first."""
    found: int | None = connection.execute(_SELECT).scalar_one_or_none()
    return found
