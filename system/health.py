"""Is the service alive, ready, started? Asked over HTTP, and by a watch that never stops asking itself.

Live says only that the process answers. Ready writes a row and reads it back, at most once a second whoever asks. The
watch looks five times a second whether the database is still ours, and has the engine check its structure, spending at
most a twentieth of a core on it.

Ready names the degraded modes (`modes.py`). With a domain off it is a `warn`, and 200: everything else is served. The same
while the service's own records are being lost (`reporting/`), which no request can tell. When
nothing can be written it is a `fail`, and 503, as whoever waits for a service or watches one means one that takes writes;
a load balancer that would rather have readers served asks `?accept=read-only`, which is then a `warn`, and 200. In the
draft for health+json (draft-inadarei-api-health-check-06) a `warn` is never anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import uuid
from typing import Literal

import msgspec
import structlog
from fastapi import APIRouter, Request, Response

from system import health_jobs
from system.errors import READ_ONLY, ServiceError
from system.http import lanes, now_ms
from system.jobs import Operation
from system.lanes import Lanes
from system.metrics import READY
from system.reporting.losses import Losses

READY_CACHED_S = 1.0
IDENTITY_INTERVAL_S = 0.2
PROBE_INTERVAL_S = 0.25
"""How often a write is tried while writes are refused."""
CHECK_INTERVAL_S = 1.0
CHECK_SHARE = 20
"""A structure check is followed by a rest this many times as long as it took."""

router = APIRouter(prefix="/health", tags=["health"])
log = structlog.get_logger()


class Told(msgspec.Struct, frozen=True):
    """How the service is, as whoever asks is told: `output` says what is wrong, `modes` what it does without."""

    status: Literal["pass", "warn", "fail"]
    output: str
    checks: dict[str, str]
    modes: dict[str, str]


class Health:
    """The health of one HTTP process. `watch()` runs beside the requests until cancelled."""

    def __init__(self, lanes: Lanes, database_url: str, losses: Losses | None = None) -> None:
        self._lanes = lanes
        self._losses = losses or Losses()
        self._url = database_url
        self._values = itertools.count(time.time_ns())
        self._asking = asyncio.Lock()
        self._asked = float("-inf")
        self._trouble = "not asked yet"
        self.readable = False
        self.started = False

    @property
    def modes(self) -> dict[str, str]:
        """The degraded modes, with their reasons."""
        return self._lanes.modes.told()

    @property
    def lost_records(self) -> str:
        """What the service could not record within the last minute; empty when it recorded everything."""
        return self._losses.told()

    def standing(self) -> tuple[str, str]:
        """Pass, warn or fail, and why, by what is known already: nobody is asked and nothing written for it."""
        modes = self.modes
        if self._lanes.fenced:
            return "fail", self._lanes.fenced
        told = " ".join(filter(None, (*(f"{mode}: {reason}" for mode, reason in modes.items()), self.lost_records)))
        return "fail" if READ_ONLY in modes else "warn" if told else "pass", told

    async def trouble(self) -> str:
        """Empty when a write was read back within the last second, else why not; `readable` says whether reading works."""
        async with self._asking:
            if self._lanes.fenced:
                self._trouble, self.readable = self._lanes.fenced, False
            elif time.monotonic() - self._asked > READY_CACHED_S or self._trouble or self._lanes.modes.read_only:
                self._trouble = await self._ask()
                self._asked = time.monotonic()
        READY.set(0 if self._trouble else 1)
        self.started = self.started or not self._trouble
        return self._trouble

    async def _ask(self) -> str:
        value = next(self._values)
        operation = Operation(f"system.beat.{uuid.uuid4()}", "system", None, "", now_ms())
        trouble, self.readable = "", False
        try:
            await self._lanes.write(health_jobs.beat, value, operation=operation)
        except ServiceError as error:
            trouble = error.message
        try:
            found = await self._lanes.read("health", health_jobs.last_beat)
        except ServiceError as error:
            return trouble or error.message
        self.readable = True
        if trouble:
            return trouble
        return "" if found is not None and found >= value else f"wrote {value} and read {found}"

    async def watch(self) -> None:
        """Fences the lanes within a second of the database file being removed, replaced or unreadable."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_identity())
            group.create_task(self._watch_structure())
            group.create_task(self._watch_writing())

    async def _watch_identity(self) -> None:
        while True:
            if self._lanes.look():
                READY.set(0)
            self._lanes.modes.look()
            await asyncio.sleep(IDENTITY_INTERVAL_S)

    async def _watch_writing(self) -> None:
        """Finds out that the writer is away before a client does, and that writing works again before one may try."""
        while not self._lanes.fenced:
            if self._lanes.writer_away or self._lanes.modes.read_only:
                await self.trouble()
            await asyncio.sleep(PROBE_INTERVAL_S)

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
async def ready(request: Request, accept: Literal["read-only"] | None = None) -> Response:
    """A row was written and read back within the last second; with `accept`, it is enough that one could be read."""
    health: Health = request.app.state.health
    trouble = await health.trouble()
    modes = health.modes
    if trouble and accept == READ_ONLY and READ_ONLY in modes and health.readable:
        return _answer("", {"database": trouble}, modes)
    return _answer(trouble, {"database": trouble or "written and read back"}, modes, health.lost_records)


@router.get("/startup", response_model=None)
async def startup(request: Request) -> Response:
    """The service has been ready once since it began."""
    health: Health = request.app.state.health
    trouble = "" if health.started else await health.trouble()
    return _answer(trouble, {})


def _answer(trouble: str, checks: dict[str, str], modes: dict[str, str] | None = None, lost: str = "") -> Response:
    status: Literal["pass", "warn", "fail"] = "fail" if trouble else "warn" if modes or lost else "pass"
    if lost:
        checks = checks | {"records": lost}
    body = Told(status, trouble, checks, modes or {})
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "1"} if trouble else {})
    return Response(msgspec.json.encode(body), 503 if trouble else 200, headers, "application/health+json")
