"""Is the service alive, ready, started? Asked over HTTP, and by a watch that never stops asking itself.

Live says only that the process answers. Ready writes a row and reads it back, at most once a second whoever asks. The
watch looks five times a second whether the database is still ours, and has the engine check its structure, spending at
most a twentieth of a core on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import uuid

import msgspec
import structlog
from fastapi import APIRouter, Request, Response

from system import health_jobs
from system.errors import ServiceError
from system.http import lanes, now_ms
from system.jobs import Operation
from system.lanes import Lanes
from system.metrics import READY

READY_CACHED_S = 1.0
IDENTITY_INTERVAL_S = 0.2
CHECK_INTERVAL_S = 1.0
CHECK_SHARE = 20
"""A structure check is followed by a rest this many times as long as it took."""

router = APIRouter(prefix="/health", tags=["health"])
log = structlog.get_logger()


class Health:
    """The health of one HTTP process. `watch()` runs beside the requests until cancelled."""

    def __init__(self, lanes: Lanes, database_url: str) -> None:
        self._lanes = lanes
        self._url = database_url
        self._values = itertools.count(time.time_ns())
        self._asking = asyncio.Lock()
        self._asked = float("-inf")
        self._trouble = "not asked yet"
        self.started = False

    async def trouble(self) -> str:
        """Empty when a write was read back within the last second, else why not."""
        async with self._asking:
            if self._lanes.fenced:
                self._trouble = self._lanes.fenced
            elif time.monotonic() - self._asked > READY_CACHED_S or self._trouble:
                self._trouble = await self._ask()
                self._asked = time.monotonic()
        READY.set(0 if self._trouble else 1)
        self.started = self.started or not self._trouble
        return self._trouble

    async def _ask(self) -> str:
        value = next(self._values)
        operation = Operation(f"system.beat.{uuid.uuid4()}", "system", None, "", now_ms())
        try:
            await self._lanes.write(health_jobs.beat, value, operation=operation)
            found = await self._lanes.read("health", health_jobs.last_beat)
        except ServiceError as error:
            return error.message
        return "" if found is not None and found >= value else f"wrote {value} and read {found}"

    async def watch(self) -> None:
        """Fences the lanes within a second of the database file being removed, replaced or unreadable."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_identity())
            group.create_task(self._watch_structure())

    async def _watch_identity(self) -> None:
        while True:
            if self._lanes.look():
                READY.set(0)
            await asyncio.sleep(IDENTITY_INTERVAL_S)

    async def _watch_structure(self) -> None:
        while not self._lanes.fenced:
            began = time.monotonic()
            with contextlib.suppress(ServiceError):  # the lane fenced itself, or the next look will tell
                damage = await self._lanes.damage()
                if damage:
                    self._lanes.fence(f"The database is damaged: {damage}.")
            took = time.monotonic() - began
            await asyncio.sleep(max(CHECK_INTERVAL_S, CHECK_SHARE * took))


@router.get("/live", response_model=None)
async def live(request: Request) -> Response:
    """The process answers. Never touches the database; says why, if it never will again."""
    fenced = lanes(request).fenced
    return _answer("", {"fence": fenced} if fenced else {})


@router.get("/ready", response_model=None)
async def ready(request: Request) -> Response:
    """A row was written and read back within the last second."""
    trouble = await request.app.state.health.trouble()
    return _answer(trouble, {"database": trouble or "written and read back"})


@router.get("/startup", response_model=None)
async def startup(request: Request) -> Response:
    """The service has been ready once since it began."""
    health: Health = request.app.state.health
    trouble = "" if health.started else await health.trouble()
    return _answer(trouble, {})


def _answer(trouble: str, checks: dict[str, str]) -> Response:
    body = {"status": "fail" if trouble else "pass", "output": trouble, "checks": checks}
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "1"} if trouble else {})
    return Response(msgspec.json.encode(body), 503 if trouble else 200, headers, "application/health+json")
