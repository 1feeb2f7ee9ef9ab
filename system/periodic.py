"""The service's own jobs, on a clock: notifications are delivered, forgotten challenges expire.

Each goes through the write lane like any other job, under an operation id of its own.
"""

from __future__ import annotations

import asyncio
import uuid

import structlog

from system import challenge_service, notification_service
from system.errors import ServiceError
from system.http import now_ms
from system.jobs import Operation
from system.lanes import Lanes
from system.metrics import OUTBOX_PENDING
from system.reporting.losses import Losses
from system.reporting.shelves import DELIVERIES

DELIVERY_INTERVAL_S = 0.25
DELIVERY_LIMIT = 200
EXPIRY_INTERVAL_S = 5.0
EXPIRY_LIMIT = 100

log = structlog.get_logger()


async def run(lanes: Lanes, losses: Losses) -> None:
    """Runs until cancelled. A refused turn is left to the next one: everything due stays due."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_deliver(lanes, losses))
        group.create_task(_expire(lanes))


async def _deliver(lanes: Lanes, losses: Losses) -> None:
    while True:
        try:
            pending = await lanes.read("notifications", notification_service.pending_count)
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


def _operation(what: str, now: int) -> Operation:
    return Operation(f"system.{what}.{uuid.uuid4()}", "system", None, "", now)
