"""What the service's figures were lately: a ring of samples in memory, read with the arithmetic of Prometheus.

The same functions over the same samples give the same values as `rate`, `increase` and `histogram_quantile` do there
(`promql/functions.go` and `quantile.go` of 2.42), so that a rule means the same on both sides.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]
Reading = tuple[str, Mapping[str, str], float]
"""A sample's name, its labels and its value."""

_NEARLY = 1.1
"""A series is taken to reach an end of its window when it ends within so many of its intervals of it."""


class Point(NamedTuple):
    """What a series was at an instant, in seconds since the epoch. `grown` is what it grew by since its first point.

    A counter that is lower than before began anew, and grew by what it is.
    """

    at: float
    value: float
    grown: float


class Span(NamedTuple):
    """The points of one series in a window: the first, the last, and how many there are."""

    labels: Labels
    first: Point
    last: Point
    points: int


class Ring:
    """The samples of the last `horizon_s` seconds, by name and labels. Memory is bounded by that and the interval."""

    def __init__(self, horizon_s: float) -> None:
        self._horizon_s = horizon_s
        self._series: dict[str, dict[Labels, list[Point]]] = {}
        self._newest: dict[str, dict[Labels, float]] = {}
        self._at = float("-inf")

    def add(self, now: float, readings: Iterable[Reading]) -> None:
        """What was read at that instant. A clock that was set back begins the ring anew."""
        if now <= self._at:
            self._series.clear()
        self._at = now
        self._newest = {}
        for name, labels, value in readings:
            key = tuple(sorted(labels.items()))
            self._newest.setdefault(name, {})[key] = value
            points = self._series.setdefault(name, {}).setdefault(key, [])
            points.append(_next(points[-1], now, value) if points else Point(now, value, 0.0))
        for series in self._series.values():
            for key in list(series):
                points = series[key]
                del points[: bisect_left(points, (now - self._horizon_s,))]
                if not points:
                    del series[key]

    def newest(self, name: str) -> Mapping[Labels, float]:
        """What each series of that name was at the last reading; those that were not there are not here."""
        return self._newest.get(name, {})

    def spans(self, name: str, since: float, until: float) -> Iterator[Span]:
        """The span of each series of that name in that stretch of time, its ends included."""
        for labels, points in self._series.get(name, {}).items():
            begin, end = bisect_left(points, (since,)), bisect_right(points, (until, math.inf))
            if begin < end:
                yield Span(labels, points[begin], points[end - 1], end - begin)


def _next(before: Point, now: float, value: float) -> Point:
    return Point(now, value, before.grown + (value - before.value if value >= before.value else value))


def increase(span: Span, since: float, until: float) -> float | None:
    """By how much a counter grew in the window, extrapolated to its ends; None of fewer than two points."""
    if span.points < 2:
        return None
    first, last = span.first, span.last
    grown = last.grown - first.grown
    covered_s = last.at - first.at
    interval_s = covered_s / (span.points - 1)
    to_start_s, to_end_s = first.at - since, until - last.at
    if grown > 0 and first.value >= 0:  # A counter was never below zero.
        to_start_s = min(to_start_s, covered_s * first.value / grown)
    reach_s = covered_s
    for gap_s in (to_start_s, to_end_s):
        reach_s += gap_s if gap_s < _NEARLY * interval_s else interval_s / 2
    return grown * reach_s / covered_s


def quantile(wanted: float, buckets: Mapping[float, float]) -> float:
    """That quantile of a cumulative histogram, by upper bound; NaN when nothing was observed."""
    bounds = sorted(buckets)
    if len(bounds) < 2 or bounds[-1] != math.inf:
        return math.nan
    counts, highest = [], 0.0
    for bound in bounds:  # Rates of one histogram, read bucket by bucket, may come out not quite in order.
        highest = max(highest, buckets[bound])
        counts.append(highest)
    total = counts[-1]
    if total == 0 or math.isnan(total):
        return math.nan
    rank = wanted * total
    place = next((place for place, count in enumerate(counts[:-1]) if count >= rank), len(bounds) - 1)
    if place == len(bounds) - 1:
        return bounds[-2]
    if place == 0 and bounds[0] <= 0:
        return bounds[0]
    low, below = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    return low + (bounds[place] - low) * (rank - below) / (counts[place] - below)
