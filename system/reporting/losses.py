"""Records that could not be kept: counted by record and reason, and told by the health document for a minute after."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from system.metrics import RECORDS_DROPPED

TOLD_S = 60.0

log = structlog.get_logger()


@dataclass(slots=True)
class _Lost:
    records: int = 0
    reason: str = ""
    last: float = float("-inf")


class Losses:
    """What one process could not record. The clock is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lost: dict[str, _Lost] = {}

    def count(self, record: str, reason: str, records: int = 1) -> None:
        """So many are lost. The log tells of the first of a spell, the metric of each."""
        RECORDS_DROPPED.labels(record, reason).inc(records)
        now = self._clock()
        lost = self._lost.setdefault(record, _Lost())
        if now - lost.last > TOLD_S:
            lost.records = 0
            log.warning("records lost", record=record, reason=reason, records=records)
        lost.records += records
        lost.reason, lost.last = reason, now

    def told(self) -> str:
        """A sentence for each record of which some were lost within the last minute; empty when none were."""
        now = self._clock()
        return " ".join(
            f"{lost.records} records of {name} were lost ({lost.reason})."
            for name, lost in sorted(self._lost.items())
            if now - lost.last <= TOLD_S
        )
