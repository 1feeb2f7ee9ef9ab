"""What waits to be recorded: rows as they came, errors in groups, requests in sums; bounded, and lost only with a count."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from system.errors import ServiceError
from system.jobs import Job
from system.reporting import record_jobs
from system.reporting.fingerprints import Fault, fault_of
from system.reporting.losses import Losses
from system.reporting.rollups import Tallies, requests_in

PLACES = 20_000
"""Rows of a record that wait at most: a few seconds at the service's best."""
SLICE = 500
"""Most rows of one job: enough to cost little each, and few enough to hold up no other write."""
GROUPS = 1_000
"""Error groups that wait at most."""

ACTIVITY, ERRORS, HEALTH, ROLLUPS, DELIVERIES = "activity", "errors", "health", "rollups", "deliveries"

Write = Callable[[Job, list[Any]], Awaitable[str | None]]
"""Runs a job: None when it is committed, `KEPT` when it may be tried again, else why its records are lost."""
KEPT = "kept"


class Shelf(Protocol):
    """What waits of one record."""

    wake: asyncio.Event
    """Set when it should be flushed before its time."""

    async def flush(self, write: Write) -> None:
        """Everything that waited when it was called is written, kept for the next time, or counted as lost."""

    def abandon(self) -> None:
        """Nobody will write what still waits: it is counted as lost."""


class Rows:
    """Rows in the order they came."""

    def __init__(self, record: str, job: Job, losses: Losses, places: int = PLACES) -> None:
        self._record, self._job, self._losses, self._places = record, job, losses, places
        self._rows: list[Any] = []
        self.wake = asyncio.Event()

    def put(self, row: Any) -> None:
        """The row waits, or is counted as lost."""
        if len(self._rows) >= self._places:
            self._losses.count(self._record, "queue-full")
            return
        self._rows.append(row)
        if len(self._rows) == SLICE:  # Once: while the lane refuses them, more rows are no reason to ask more often.
            self.wake.set()

    async def flush(self, write: Write) -> None:
        left = len(self._rows)
        while left:
            rows = self._rows[: min(SLICE, left)]
            outcome = await write(self._job, rows)
            if outcome == KEPT:
                return
            del self._rows[: len(rows)]
            left -= len(rows)
            if outcome is not None:
                self._losses.count(self._record, outcome, len(rows))

    def abandon(self) -> None:
        _lose(self._losses, self._record, len(self._rows))
        self._rows.clear()


class Groups:
    """Errors, grouped as they come, so that a thousand of one kind are one row."""

    def __init__(self, losses: Losses, places: int = GROUPS) -> None:
        self._losses, self._places = losses, places
        self._groups: dict[tuple[str, str, str], list[Any]] = {}
        self.wake = asyncio.Event()

    def put(self, at_ms: int, error: BaseException | None, status: int, flow: str, request_id: str) -> None:
        """One more of its group. What a rule said is told apart by its code and flow, without looking at it again."""
        said = isinstance(error, ServiceError) and not error.cause
        fault = None if said else fault_of(error, status, flow)
        key = (type(error).__name__, error.code, flow) if said else _key(fault)  # type: ignore[union-attr]
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= self._places:
                self._losses.count(ERRORS, "queue-full")
                return
            fault = fault or fault_of(error, status, flow)
            self._groups[key] = [
                fault.fingerprint, fault.kind, fault.code, fault.place, status, fault.message, request_id, 1, at_ms, at_ms,
            ]  # fmt: skip
            return
        group[record_jobs.COUNT] += 1
        group[record_jobs.REQUEST_ID], group[record_jobs.LAST_MS] = request_id, at_ms

    async def flush(self, write: Write) -> None:
        if not self._groups:
            return
        taken, self._groups = self._groups, {}
        outcome = await write(record_jobs.keep_errors, sorted(taken.values()))
        if outcome == KEPT:
            self._give_back(taken)
        elif outcome is not None:
            self._losses.count(ERRORS, outcome, sum(group[record_jobs.COUNT] for group in taken.values()))

    def abandon(self) -> None:
        _lose(self._losses, ERRORS, sum(group[record_jobs.COUNT] for group in self._groups.values()))
        self._groups.clear()

    def _give_back(self, taken: dict[tuple[str, str, str], list[Any]]) -> None:
        for key, group in taken.items():
            newer = self._groups.get(key)
            if newer is not None:
                newer[record_jobs.COUNT] += group[record_jobs.COUNT]
                newer[record_jobs.FIRST_MS] = group[record_jobs.FIRST_MS]
            elif len(self._groups) < self._places:
                self._groups[key] = group
            else:
                self._losses.count(ERRORS, "queue-full", group[record_jobs.COUNT])


class Sums:
    """The rollups' sums."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._tallies = Tallies()
        self.wake = asyncio.Event()

    def put(self, at_ms: int, kind: str, status: int, took_us: int) -> None:
        """One more request is in the sums."""
        if not self._tallies.add(at_ms, kind, status, took_us):
            self._losses.count(ROLLUPS, "queue-full")

    async def flush(self, write: Write) -> None:
        if not len(self._tallies):
            return
        rows = self._tallies.take()
        outcome = await write(record_jobs.add_rollups, rows)
        if outcome == KEPT:
            if lost := self._tallies.give_back(rows):
                self._losses.count(ROLLUPS, "queue-full", lost)
        elif outcome is not None:
            self._losses.count(ROLLUPS, outcome, requests_in(rows))

    def abandon(self) -> None:
        _lose(self._losses, ROLLUPS, requests_in(self._tallies.take()))


def _lose(losses: Losses, record: str, records: int) -> None:
    if records:
        losses.count(record, "process-ended", records)


def _key(fault: Fault | None) -> tuple[str, str, str]:
    assert fault is not None
    return fault.kind, fault.code, fault.place
