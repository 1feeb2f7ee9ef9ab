"""What a process remembers of its requests until the write lane has taken it: bounded, and nothing lost without a count.

    edge ── request(), refused() ── queue of rows ─┐
                                 ── error groups  ─┼─ one job at a time for each record ── write lane, domain `records`
    history ── health() ─────────── queue of rows ─┤
                                 ── sums          ─┘   kept while it is refused, counted as lost when it fails

Each record has a queue, a job and a table of its own, so that a broken one costs nobody but itself. No request ever waits
here: it leaves one tuple, and what there is no place for is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import Any

from system.errors import OutcomeUnknown, ServiceError, Unavailable
from system.jobs import Job, Operation
from system.lanes import FAULTS, Lanes
from system.reporting import record_jobs
from system.reporting.losses import Losses
from system.reporting.shelves import ACTIVITY, HEALTH, KEPT, PLACES, Groups, Rows, Shelf, Sums

FLUSH_INTERVAL_S = 1.0
SUM_INTERVAL_S = 5.0
LAST_FLUSH_S = 3.0
"""How long a process that ends waits for the last of its records to be written."""


class Recorder:
    """The records of one process. `request` and `refused` are called for every request, and only from the event loop."""

    def __init__(self, *, worker: int = 1, places: int = PLACES) -> None:
        self.losses = Losses()
        self.worker = worker
        self._activity = Rows(ACTIVITY, record_jobs.keep_requests, self.losses, places)
        self._health = Rows(HEALTH, record_jobs.keep_health, self.losses, places)
        self._errors = Groups(self.losses)
        self._sums = Sums(self.losses)
        self._stopping = False

    def request(
        self, kind: str, status: int, took_s: float, request_id: str, state: dict[str, Any], error: BaseException | None
    ) -> None:
        """A request was answered. `state` has its `user_id` and `operation_id`, as far as they are known."""
        at_ms = time.time_ns() // 1_000_000
        took_us = int(took_s * 1_000_000)
        self._sums.put(at_ms, kind, status, took_us)
        self._activity.put((at_ms, state.get("user_id"), kind, status, took_us, request_id, state.get("operation_id")))
        if status >= 500:
            self._errors.put(at_ms, error, status, kind, request_id)

    def refused(self, kind: str, status: int, took_s: float, request_id: str, error: BaseException) -> None:
        """A request was turned away at the door: it is in the sums and the error groups, and leaves no row of its own.

        There is no bound to how many are refused, and a row for each would cost more than refusing does.
        """
        at_ms = time.time_ns() // 1_000_000
        self._sums.put(at_ms, kind, status, int(took_s * 1_000_000))
        if status >= 500:
            self._errors.put(at_ms, error, status, kind, request_id)

    def health(self, at_ms: int, status: str, output: str) -> None:
        """The process stood like this then."""
        self._health.put((at_ms, self.worker, status, output))

    async def run(self, lanes: Lanes) -> None:
        """Writes what waits, each record on its own, until `stop`; then the last of it. What is left is counted as lost."""
        try:
            async with asyncio.TaskGroup() as group:
                for shelf, interval_s in self._shelves():
                    group.create_task(self._tend(shelf, interval_s, lanes))
        finally:
            for shelf, _ in self._shelves():
                shelf.abandon()

    def stop(self) -> None:
        """Asks `run` to return once it has tried to write what waits; to be called when no more requests come.

        It is asked and not cancelled: rows cut off on their way to the writer could not be told from rows that arrived.
        """
        self._stopping = True
        for shelf, _ in self._shelves():
            shelf.wake.set()

    def _shelves(self) -> tuple[tuple[Shelf, float], ...]:
        return (
            (self._activity, FLUSH_INTERVAL_S),
            (self._health, FLUSH_INTERVAL_S),
            (self._errors, FLUSH_INTERVAL_S),
            (self._sums, SUM_INTERVAL_S),
        )

    async def _tend(self, shelf: Shelf, interval_s: float, lanes: Lanes) -> None:
        async def write(job: Job, rows: list[Any]) -> str | None:
            return await _written(lanes, job, rows)

        while not self._stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await shelf.wake.wait()
            shelf.wake.clear()
            await shelf.flush(write)


async def _written(lanes: Lanes, job: Job, rows: list[Any]) -> str | None:
    now = time.time_ns() // 1_000_000
    operation = Operation(f"system.records.{uuid.uuid4()}", "system", None, "", now)
    try:
        await lanes.write(job, rows, operation=operation)
    except ServiceError as error:
        return after(error)
    return None


def after(error: ServiceError) -> str:
    """`KEPT` when the records may be written again later, else the reason why they are lost.

    A job that failed would fail again. A writer lost on the way may have written them: again might be twice.
    """
    if isinstance(error, Unavailable) and error.code not in FAULTS:
        return KEPT
    if isinstance(error, OutcomeUnknown):
        return "outcome-unknown"
    return error.code
