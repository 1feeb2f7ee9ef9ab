"""The known law of the reference server's latencies: log-normal by route, from one seed, drawn so evenly that every stretch
of requests shows it.

Independent draws would make the p95 of 400 requests wander by 6 %, more than two load tools may differ. So a route's n-th
request takes the quantile at `frac(start + n * golden ratio)`: any stretch of that sequence covers 0 to 1 evenly, so its
percentiles are those of the law to within a rank or two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from statistics import NormalDist

from loadtests.scenario import Flow, Scenario

MEDIAN_MS = (20.0, 80.0)
SPREAD = (0.3, 0.5)
TAIL = 1e-4
"""The law ends at this share on both sides: no request takes for ever."""

_GOLDEN = (math.sqrt(5) - 1) / 2
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Law:
    """A log-normal latency: its median, the standard deviation of its logarithm, and where its draws start."""

    median_ms: float
    spread: float
    start: float

    def quantile_ms(self, share: float) -> float:
        """The latency that this share of requests stays below."""
        return self.median_ms * math.exp(self.spread * _NORMAL.inv_cdf(min(max(share, TAIL), 1 - TAIL)))

    def draws_ms(self) -> Iterator[float]:
        """The latencies of the first request, the second, and so on without end."""
        share = self.start
        while True:
            yield self.quantile_ms(share)
            share = (share + _GOLDEN) % 1.0


def laws(scenario: Scenario, seed: int) -> dict[str, Law]:
    """The law of each flow by its name. Flows of one route share one, for the server cannot tell them apart."""
    return {flow.name: _law(f"{seed}-{route(flow)}") for flow in scenario.flows}


def route(flow: Flow) -> str:
    """What the server knows a flow by."""
    return f"{flow.method} {flow.path}"


def _law(seed: str) -> Law:
    random = Random(seed)
    return Law(random.uniform(*MEDIAN_MS), random.uniform(*SPREAD), random.random())
