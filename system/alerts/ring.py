"""What the service's figures were lately: a ring of samples in memory, read with the arithmetic of Prometheus.

The same functions over the same samples give the same values as `rate`, `increase` and `histogram_quantile` do there
(`promql/functions.go` and `quantile.go` of 2.42), so that a rule means the same on both sides.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

Labels = tuple[tuple[str, str], ...]
Point = tuple[float, float]
"""An instant, in seconds since the epoch, and a value."""
Reading = tuple[str, Mapping[str, str], float]
"""A sample's name, its labels and its value."""

_NEARLY = 1.1
"""A series is taken to reach an end of its window when it ends within so many of its intervals of it."""


class Ring:
    """The samples of the last `horizon_s` seconds, by name and labels. Memory is bounded by that and the interval."""

    def __init__(self, horizon_s: float) -> None:
        self._horizon_s = horizon_s
        self._series: dict[str, dict[Labels, deque[Point]]] = {}
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
            self._series.setdefault(name, {}).setdefault(key, deque()).append((now, value))
        for series in self._series.values():
            for key in list(series):
                points = series[key]
                while points and points[0][0] < now - self._horizon_s:
                    points.popleft()
                if not points:
                    del series[key]

    def newest(self, name: str) -> Mapping[Labels, float]:
        """What each series of that name was at the last reading; those that were not there are not here."""
        return self._newest.get(name, {})

    def within(self, name: str, since: float, until: float) -> Iterator[tuple[Labels, Sequence[Point]]]:
        """The points of each series of that name in that stretch of time, its ends included."""
        for labels, points in self._series.get(name, {}).items():
            yield labels, [point for point in points if since <= point[0] <= until]


def increase(points: Sequence[Point], since: float, until: float) -> float | None:
    """By how much a counter grew in the window, extrapolated to its ends; None of fewer than two points."""
    if len(points) < 2:
        return None
    (first_t, first), (last_t, last) = points[0], points[-1]
    grown = last - first + sum(before for (_, before), (_, after) in itertools.pairwise(points) if after < before)
    covered_s = last_t - first_t
    interval_s = covered_s / (len(points) - 1)
    to_start_s, to_end_s = first_t - since, until - last_t
    if grown > 0 and first >= 0:  # A counter was never below zero.
        to_start_s = min(to_start_s, covered_s * first / grown)
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
