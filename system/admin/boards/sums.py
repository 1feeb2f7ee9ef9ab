"""The sums of minutes and hours, laid out over the points of a chart: none is left out, so that a line never lies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from system.admin.boards.asked import Window
from system.admin.boards.panels import Series
from system.admin.boards.recent import percentile_ms
from system.reporting import rollups
from system.reporting.events import COUNTED, MINUTE_MS, last_counted
from system.reporting.record_models import BUCKETS_MS

Row = Mapping[str, Any]
_BUCKETS = tuple(f"within_{bound}_ms" for bound in BUCKETS_MS)

SETTLED_MS = 8_000
"""A process adds its sums this often at least, so a minute is whole this much after its end."""
_STEPS = {60: "minute", 300: "five minutes", 900: "quarter of an hour", 3600: "hour", 86400: "day"}


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of each step: of requests by name, of events by name and then `happened` or `amount`."""

    at: Sequence[int]
    step_s: int
    requests: Sequence[Row]
    events: Sequence[Mapping[str, tuple[int, int]]]
    kinds: Sequence[Row]
    counted_ms: int
    """Until when events are counted."""

    def per_second(self, *names: str) -> list[float | None]:
        """So many requests a second, in each step."""
        return [sum(row.get(name, 0) for name in names) / self.step_s for row in self.requests]

    def per_step(self, count: Callable[[Row], float | None]) -> list[float | None]:
        return [count(row) for row in self.requests]

    def happened(self, name: str) -> list[float | None]:
        """How often that happened, in each step; None where nobody has counted it, or not all of it yet."""
        return [
            float(told.get(name, (0, 0))[0]) if self._whole(place) else None for place, told in enumerate(self.events)
        ]

    def amount(self, name: str) -> list[float | None]:
        """The same of how much."""
        return [
            float(told.get(name, (0, 0))[1]) if self._whole(place) else None for place, told in enumerate(self.events)
        ]

    def _whole(self, place: int) -> bool:
        return COUNTED in self.events[place] and (self.at[place] + self.step_s) * 1000 <= self.counted_ms

    def line(self, label: str, name: str) -> Series:
        """The line of how often that happened."""
        return Series(label, self.happened(name))

    def total(self, name: str) -> int:
        """How often that happened in the whole window."""
        return sum(told.get(name, (0, 0))[0] for told in self.events)

    def total_amount(self, name: str) -> int:
        """Of how much, in the whole window."""
        return sum(told.get(name, (0, 0))[1] for told in self.events)


def sums(connection: Connection, window: Window, now_ms: int, kind: str | None = None) -> Sums:
    """The sums of every step of the window that is over; where nothing was summed up, nothing happened."""
    width_s = rollups.HOUR_S if window.step_s >= rollups.HOUR_S else rollups.MINUTE_S
    step_ms = window.step_s * 1000
    begin_ms = window.from_ms // step_ms * step_ms
    end_ms = max(begin_ms + step_ms, min(window.to_ms, now_ms - SETTLED_MS) // step_ms * step_ms)
    found = rollups.series(connection, width_s, begin_ms, end_ms, kind, window.step_s)
    kinds = rollups.rows_of_kinds(connection, width_s, begin_ms, max(end_ms, window.to_ms))
    requests: list[dict[str, int]] = [{} for _ in range(begin_ms, end_ms, step_ms)]
    events: list[defaultdict[str, tuple[int, int]]] = [defaultdict(lambda: (0, 0)) for _ in requests]
    for row in found["requests"]:
        place = requests[(row["start_ms"] - begin_ms) // step_ms]
        for name, value in row.items():
            place[name] = place.get(name, 0) + value
    for row in found["events"]:
        told = events[(row["start_ms"] - begin_ms) // step_ms]
        happened, amount = told[row["name"]]
        told[row["name"]] = (happened + row["happened"], amount + row["amount"])
    at = [start // 1000 for start in range(begin_ms, end_ms, step_ms)]
    counted_ms = (last_counted(connection) or 0) + MINUTE_MS
    return Sums(at, window.step_s, requests, events, kinds, counted_ms)


def step(window: Window) -> str:
    """What one point of a chart stands for, in words."""
    return _STEPS[window.step_s]


def share_failed(row: Row) -> float | None:
    """In percent of all requests; None when there were none."""
    return 100 * row.get("failed", 0) / row["requests"] if row.get("requests") else None


def mean_ms(row: Row) -> float | None:
    """What a request took on average; None when there were none."""
    return row["took_us"] / row["requests"] / 1000 if row.get("requests") else None


def took_ms(share: float) -> Callable[[Row], float | None]:
    """What that share of the requests took at most. What is beyond the last bucket is told as its bound."""

    def found(row: Row) -> float | None:
        if not row.get("requests"):
            return None
        seen, buckets = 0, {}
        for bound, name in zip(BUCKETS_MS, _BUCKETS, strict=True):
            seen += row[name]
            buckets[bound / 1000] = float(seen)
        return percentile_ms(buckets | {float("inf"): float(row["requests"])}, share)

    return found
