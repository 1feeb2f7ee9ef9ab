"""What happened on the platform, counted by the minute from the evidence itself, once a minute is over.

    activity, points_transfers, delivery_records ── one closed minute ── event_rollups of the minute, then of its hour

Counted and not added up on the way: it costs no request anything, is right after a crash, and a minute may be counted twice.
"""

from __future__ import annotations

import asyncio

import structlog
from sqlalchemy import Connection, Table, func, select

from system.errors import ServiceError
from system.jobs import now_ms
from system.lanes import FAULTS, Lanes
from system.notification_service import attempts as deliveries
from system.operations_service import activity
from system.points_models import PointsTransfer
from system.reporting.losses import Losses
from system.reporting.record_jobs import DOMAIN, set_events
from system.reporting.retention import operation
from system.reporting.rollups import MINUTE_S, events
from system.reporting.shelves import ROLLUPS

transfers: Table = PointsTransfer.__table__  # type: ignore[assignment]

MINUTE_MS = MINUTE_S * 1000
SETTLED_MS = 10_000
"""A minute is over this much later: whatever bears an instant of it is committed by then, or never."""
BACK_MINUTES = 60
"""How far back minutes are counted that nobody counted, because nothing ran."""
INTERVAL_S = 5.0

COUNTED = "minutes.counted"
POINTS_MOVED = "points.moved"

Counted = list[tuple[str, int, int]]
"""Name, how often, of how much."""

log = structlog.get_logger()


def next_minute(last_ms: int | None, at_ms: int) -> int | None:
    """The beginning of the minute to be counted next; None while the last one that is over has been counted.

    Where none ever was, counting begins with the last one: what was before nobody counted.
    """
    newest = (at_ms - SETTLED_MS) // MINUTE_MS * MINUTE_MS - MINUTE_MS
    oldest = newest - (BACK_MINUTES - 1) * MINUTE_MS
    wanted = newest if last_ms is None else max(oldest, last_ms + MINUTE_MS)
    return wanted if wanted <= newest else None


def last_counted(connection: Connection) -> int | None:
    """The beginning of the newest minute that was counted."""
    found: int | None = connection.execute(
        select(func.max(events.c.start_ms)).where(events.c.width_s == MINUTE_S, events.c.name == COUNTED)
    ).scalar_one()
    return found


def happened(connection: Connection, start_ms: int) -> Counted:
    """What happened in the minute that begins then: each kind of activity, points moved, deliveries by their outcome."""
    end_ms = start_ms + MINUTE_MS
    of_minute = (activity.c.at_ms >= start_ms, activity.c.at_ms < end_ms)
    kinds = connection.execute(
        select(activity.c.kind, func.count()).where(*of_minute).group_by(activity.c.kind).order_by(activity.c.kind)
    )
    counted = [(str(kind), int(count), 0) for kind, count in kinds if kind != "notifications.delivered"]
    moved, amount = connection.execute(
        select(func.count(), func.coalesce(func.sum(transfers.c.amount), 0))
        .select_from(activity.join(transfers, transfers.c.operation_id == activity.c.operation_id))
        .where(*of_minute)
    ).one()
    outcomes = connection.execute(
        select(deliveries.c.outcome, func.count())
        .where(deliveries.c.at_ms >= start_ms, deliveries.c.at_ms < end_ms)
        .group_by(deliveries.c.outcome)
    )
    counted += [(f"notifications.{outcome}", int(count), 0) for outcome, count in outcomes]
    return sorted([*counted, (POINTS_MOVED, int(moved), int(amount)), (COUNTED, 1, 0)])


async def count(lanes: Lanes, losses: Losses) -> None:
    """Runs until cancelled: counts every minute soon after it is over, and those that were missed, an hour back."""
    while True:
        try:
            while (start_ms := next_minute(await lanes.long_read(DOMAIN, last_counted), now_ms())) is not None:
                counted = await lanes.long_read(DOMAIN, happened, start_ms)
                await lanes.write(set_events, start_ms, counted, operation=operation("events"))
        except ServiceError as error:
            if error.code in (*FAULTS, "read-failed"):
                losses.count(ROLLUPS, error.code)
            log.info("counting put off", reason=error.message)
        await asyncio.sleep(INTERVAL_S)
