"""The two clocks: wall time in UTC for instants shown to people, monotonic seconds for durations and order.

Both are passed in as one value, so that a test can turn the wall clock back and see that nothing depends on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` gives an aware instant in UTC; `monotonic` gives seconds on CLOCK_MONOTONIC, one axis for the whole host."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]


SYSTEM = Clock(now=lambda: datetime.now(UTC), monotonic=time.monotonic)


def rfc3339(instant: datetime) -> str:
    """`2026-11-23T09:00:00.123Z`: what records and pages show."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def compact(instant: datetime) -> str:
    """`20261123T090000Z`: what names carry, because it sorts and needs no quoting."""
    return instant.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def parse(text: str) -> datetime:
    """The instant behind either form. Raises ValueError for anything else."""
    if "-" in text:
        return datetime.fromisoformat(text)
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def lasting(seconds: float) -> str:
    """A length of time for people, in the unit that suits it."""
    for size_s, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.1f} {unit}"
    return f"{max(0.0, seconds):.1f} s"
