"""One exact percentile engine for every tool, and the two pieces of arithmetic that keep a load test honest.

Percentiles are exact (no buckets) with linear interpolation between the closest ranks, as k6 computes them. A failure is
charged as infinitely slow: in every load tool a refused connection otherwise counts as a fast answer, and an outage improves
the figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

SAMPLES_BEYOND = 10
"""Fewer samples than this beyond a percentile, and the percentile says more about luck than about the service."""


def percentile(ordered: Sequence[float], percent: float, failures: int = 0) -> float:
    """The `percent`-th percentile of `ordered` (ascending successes) followed by `failures` infinite ones.

    `math.inf` when the percentile falls among the failures. Raises ValueError when there are no samples at all.
    """
    samples = len(ordered) + failures
    if not samples:
        raise ValueError("a percentile needs at least one sample")
    rank = percent / 100 * (samples - 1)
    below = math.floor(rank)
    share = rank - below
    low = _charged(ordered, below)
    if not share:
        return low
    high = _charged(ordered, below + 1)
    return high if math.isinf(high) else low + (high - low) * share


def resolved(samples: int, percent: float) -> bool:
    """Whether at least ten of `samples` lie beyond the percentile."""
    return samples * (100 - percent) / 100 >= SAMPLES_BEYOND - 1e-6


def resolved_percentile(ordered: Sequence[float], percent: float, failures: int = 0) -> float | None:
    """`percentile`, or None ("not resolved") when too few samples lie beyond it."""
    if not resolved(len(ordered) + failures, percent):
        return None
    return percentile(ordered, percent, failures)


def expected_rate(users: float, latency_s: float, think_s: float) -> float:
    """Requests per second that `users` in a closed loop make by Little's law: users = rate x (latency + think)."""
    cycle_s = latency_s + think_s
    if cycle_s <= 0:
        raise ValueError("a cycle without latency and without think time implies no finite rate")
    return users / cycle_s


def residual(rate: float, expected: float) -> float:
    """How far the achieved rate is from the expected one, as a share of it: -0.05 is five percent short."""
    return rate / expected - 1 if expected else math.inf


def _charged(ordered: Sequence[float], index: int) -> float:
    return ordered[index] if index < len(ordered) else math.inf
