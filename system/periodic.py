"""The service's own jobs, on a clock: notifications are delivered, forgotten challenges expire, deadlocks are counted.

Each goes through the lanes like any other job; what writes, under an operation id of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import structlog

from system import challenge_service, notification_service
from system.errors import ServiceError
from system.jobs import Operation, now_ms
from system.lanes import Lanes
from system.metrics import DEADLOCKS, OUTBOX_AGE, OUTBOX_PENDING
from system.reporting.losses import Losses
from system.reporting.shelves import DELIVERIES

DELIVERY_INTERVAL_S = 0.25
DELIVERY_LIMIT = 200
EXPIRY_INTERVAL_S = 5.0
EXPIRY_LIMIT = 100
DEADLOCKS_INTERVAL_S = 2.0

log = structlog.get_logger()


async def run(lanes: Lanes, losses: Losses, *, on_a_server: bool = False) -> None:
    """Runs until cancelled. A refused turn is left to the next one: everything due stays due."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_deliver(lanes, losses))
        group.create_task(_expire(lanes))
        if on_a_server:
            group.create_task(_count_deadlocks(lanes))


async def _deliver(lanes: Lanes, losses: Losses) -> None:
    waiting_ms: int | None = None
    while True:
        try:
            pending, waiting_ms = await lanes.read("notifications", notification_service.backlog)
            OUTBOX_PENDING.set(pending)
            if pending:
                lanes.modes.check("notifications", writes=True)
                now = now_ms()
                written = await lanes.write(
                    notification_service.deliver_due, DELIVERY_LIMIT, now, operation=_operation("deliver", now)
                )
                if unlogged := notification_service.unlogged(written.body):
                    losses.count(DELIVERIES, "not-written", unlogged)
        except ServiceError as error:
            log.info("delivery put off", reason=error.message)
        # Also while nothing can be read: what waited then still waits.
        OUTBOX_AGE.set(0 if waiting_ms is None else max(0.0, (now_ms() - waiting_ms) / 1000))
        await asyncio.sleep(DELIVERY_INTERVAL_S)


async def _expire(lanes: Lanes) -> None:
    while True:
        await asyncio.sleep(EXPIRY_INTERVAL_S)
        now = now_ms()
        try:
            lanes.modes.check("challenges", writes=True)
            await lanes.write(challenge_service.expire_due, EXPIRY_LIMIT, now, operation=_operation("expire", now))
        except ServiceError as error:
            log.info("expiry put off", reason=error.message)


async def _count_deadlocks(lanes: Lanes) -> None:
    known: int | None = None
    while True:
        with contextlib.suppress(ServiceError):  # The server is away; it goes on counting when it is back.
            counted = await lanes.deadlocks()
            # The server counts from an instant of its own, and from zero after a crash.
            DEADLOCKS.inc(0 if known is None else max(0, counted - known))
            known = counted
        await asyncio.sleep(DEADLOCKS_INTERVAL_S)


def _operation(what: str, now: int) -> Operation:
    return Operation(f"system.{what}.{uuid.uuid4()}", "system", None, "", now)
