"""How long records are kept, and how many: the oldest go first, a slice at a time, so that no write waits for it.

What may go is decided from four numbers of a record (`slice_of`, pure); a job takes it away.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import Column, Connection, Delete, Table, bindparam, delete, func, select

from system.admin.actions import audit
from system.errors import ServiceError
from system.jobs import NOTHING_HAPPENED, Operation, Reply, now_ms, write_job
from system.notification_service import attempts as deliveries
from system.reporting.record_jobs import DOMAIN, errors, health, requested
from system.reporting.rollups import HOUR_S, MINUTE_S, events, requests
from system.statements import Session

if TYPE_CHECKING:  # The writer, which has these jobs, has no lanes.
    from system.lanes import Lanes

INTERVAL_S = 30.0
SLICE = 500
SLICES = 400
"""Slices of one record in a turn: faster than a service at its best makes new ones."""
DAY_MS = 86_400_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Retention:
    """How long and how many requests are kept, and how long admin actions; the other records' bounds are in `BOUNDS`."""

    activity_days: int = 14
    activity_rows: int = 10_000_000
    audit_days: int = 400


@dataclass(frozen=True, slots=True)
class Bound:
    """The most days and rows of a record."""

    days: int
    rows: int


BOUNDS = {
    "errors": Bound(90, 2_000),
    "deliveries": Bound(90, 10_000_000),
    "health": Bound(90, 500_000),
}
AUDIT_ROWS = 10_000_000
ROLLUP_DAYS = {MINUTE_S: 14, HOUR_S: 400}


@dataclass(frozen=True, slots=True)
class Extent:
    """A record as it is: its oldest row's instant, and its ids from the first to the last; nothing of an empty one."""

    oldest_ms: int | None = None
    first_id: int | None = None
    last_id: int | None = None


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows to take away: those before an instant, or those up to an id."""

    before_ms: int = 0
    up_to_id: int = 0


def slice_of(extent: Extent, bound: Bound, at_ms: int) -> Slice | None:
    """What may go now, None when nothing may. Ids are given in order, so their distance bounds how many rows there are."""
    if extent.oldest_ms is None or extent.first_id is None or extent.last_id is None:
        return None
    horizon = at_ms - bound.days * DAY_MS
    if extent.oldest_ms < horizon:
        return Slice(before_ms=horizon)
    if extent.last_id - extent.first_id + 1 > bound.rows:
        return Slice(up_to_id=extent.last_id - bound.rows)
    return None


@dataclass(frozen=True, slots=True)
class _Kept:
    """A table that is pruned, and the column that says how old a row is."""

    table: Table
    at: Column[Any]
    by_time: Delete
    by_id: Delete

    @classmethod
    def of(cls, table: Table, at: Column[Any]) -> _Kept:
        oldest = select(table.c.id).where(at < bindparam("before_ms")).order_by(at).limit(bindparam("slice"))
        first = (
            select(table.c.id).where(table.c.id <= bindparam("up_to_id")).order_by(table.c.id).limit(bindparam("slice"))
        )
        return cls(
            table, at, *(delete(table).where(table.c.id.in_(rows.scalar_subquery())) for rows in (oldest, first))
        )

    def extent(self, connection: Connection) -> Extent:
        """Two looks into indexes, however many rows there are."""
        oldest = connection.execute(select(func.min(self.at))).scalar_one()
        first = connection.execute(select(func.min(self.table.c.id))).scalar_one()
        last = connection.execute(select(func.max(self.table.c.id))).scalar_one()
        return Extent(oldest, first, last)


KEPT = {
    "activity": _Kept.of(requested, requested.c.at_ms),
    "errors": _Kept.of(errors, errors.c.last_ms),
    "deliveries": _Kept.of(deliveries, deliveries.c.at_ms),
    "health": _Kept.of(health, health.c.at_ms),
    "audit": _Kept.of(audit, audit.c.at_ms),
}
_ROLLUPS = (requests, events)


@write_job(DOMAIN)
def prune_rows(session: Session, _operation: Operation, record: str, before_ms: int, up_to_id: int) -> Reply:
    """One slice of the record's oldest rows is gone: of those before the instant, or else of those up to the id."""
    kept = KEPT[record]
    if before_ms:
        session.execute(kept.by_time, {"before_ms": before_ms, "slice": SLICE})
    else:
        session.execute(kept.by_id, {"up_to_id": up_to_id, "slice": SLICE})
    return NOTHING_HAPPENED


@write_job(DOMAIN)
def prune_rollups(session: Session, _operation: Operation, width_s: int, before_ms: int) -> Reply:
    """The sums of that width before the instant are gone."""
    for table in _ROLLUPS:
        session.execute(_OLD[table.name], {"width_s": width_s, "before_ms": before_ms})
    return NOTHING_HAPPENED


_OLD = {
    table.name: delete(table).where(table.c.width_s == bindparam("width_s"), table.c.start_ms < bindparam("before_ms"))
    for table in _ROLLUPS
}


async def prune(lanes: Lanes, retention: Retention) -> None:
    """Runs until cancelled. What is refused, or too much for one turn, is left to the next."""
    bounds = BOUNDS | {
        "activity": Bound(retention.activity_days, retention.activity_rows),
        "audit": Bound(retention.audit_days, AUDIT_ROWS),
    }
    while True:
        for record, bound in bounds.items():
            await _turn(record, prune_rows_of(lanes, record, bound))
        for width_s in ROLLUP_DAYS:
            await _turn("rollups", prune_rollups_of(lanes, width_s))
        await asyncio.sleep(INTERVAL_S)


async def _turn(record: str, pruning: Awaitable[None]) -> None:
    try:
        await pruning
    except ServiceError as error:
        log.info("pruning put off", record=record, reason=error.message)


async def prune_rows_of(lanes: Lanes, record: str, bound: Bound) -> None:
    """What the bound leaves no room for is gone, or as much of it as fits into a turn. Raises ServiceError."""
    for _ in range(SLICES):
        due = slice_of(await lanes.long_read(DOMAIN, KEPT[record].extent), bound, now_ms())
        if due is None:
            return
        await lanes.write(prune_rows, record, due.before_ms, due.up_to_id, operation=operation("prune"))


async def prune_rollups_of(lanes: Lanes, width_s: int) -> None:
    """Sums of that width that are too old are gone, sixty periods at a time. Raises ServiceError."""
    horizon = now_ms() - ROLLUP_DAYS[width_s] * DAY_MS
    for _ in range(SLICES):
        oldest = await lanes.long_read(DOMAIN, _oldest_rollup, width_s)
        if oldest is None or oldest >= horizon:
            return
        before_ms = min(horizon, oldest + width_s * 60_000)
        await lanes.write(prune_rollups, width_s, before_ms, operation=operation("prune"))


def _oldest_rollup(connection: Connection, width_s: int) -> int | None:
    oldest = [
        connection.execute(select(func.min(table.c.start_ms)).where(table.c.width_s == width_s)).scalar_one()
        for table in _ROLLUPS
    ]
    return min((one for one in oldest if one is not None), default=None)


def operation(what: str) -> Operation:
    """An operation of the records' own, of which none is ever recorded."""
    return Operation(f"system.records.{what}.{uuid.uuid4()}", "system", None, "", now_ms())
