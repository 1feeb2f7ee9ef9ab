"""How long exact percentiles take: they are sorted out of every sample, with no buckets."""

from __future__ import annotations

import random

import pytest

from loadtests.percentiles import resolved_percentile
from tests.bench.conftest import Report, Timed
from tests.bench.figures import at_most

pytestmark = pytest.mark.benchmark_only

SAMPLES = 300_000
"""A thousand users for ten minutes, at a request every two seconds."""


def test_percentiles_of_a_long_run(timed: Timed, report: Report) -> None:
    source = random.Random(1)
    durations = [source.expovariate(200) for _ in range(SAMPLES)]

    def percentiles() -> list[float | None]:
        ordered = sorted(durations)
        return [resolved_percentile(ordered, percent, failures=300) for percent in (50, 90, 95, 99, 99.9)]

    assert percentiles()[0] == pytest.approx(0.00347, rel=0.02)
    report(at_most("percentiles of 300 000 samples", timed(percentiles, 7), "s", 1))
