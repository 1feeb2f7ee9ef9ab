"""The percentile engine: exact values, failures charged, and honest about too few samples."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.percentiles import expected_rate, percentile, residual, resolved, resolved_percentile


@pytest.mark.parametrize(
    ("samples", "percent", "failures", "expected"),
    [
        ([7.0], 50, 0, 7.0),
        ([7.0], 99, 0, 7.0),
        ([1.0, 2.0], 50, 0, 1.5),
        ([1.0, 2.0, 3.0, 4.0], 50, 0, 2.5),
        ([1.0, 2.0, 3.0, 4.0], 95, 0, 3.85),
        ([float(n) for n in range(1, 101)], 95, 0, 95.05),
        ([float(n) for n in range(1, 101)], 99, 0, 99.01),
        ([float(n) for n in range(1, 11)], 0, 0, 1.0),
        ([float(n) for n in range(1, 11)], 100, 0, 10.0),
        ([float(n) for n in range(1, 96)], 90, 5, 90.1),  # five failures beyond: the p90 of 100 is untouched
        ([float(n) for n in range(1, 96)], 95, 5, math.inf),  # interpolates towards the first failure
        ([float(n) for n in range(1, 96)], 99, 5, math.inf),
        ([], 50, 10, math.inf),
        ([], 1, 1, math.inf),
    ],
)
def test_golden_values(samples: list[float], percent: float, failures: int, expected: float) -> None:
    """Linear interpolation between closest ranks; a failure is infinitely slow."""
    assert percentile(samples, percent, failures) == pytest.approx(expected)


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=2, max_size=200), st.integers(1, 99))
def test_agrees_with_the_standard_library(samples: list[float], percent: int) -> None:
    """`statistics.quantiles` by its inclusive method is the same definition."""
    expected = statistics.quantiles(samples, n=100, method="inclusive")[percent - 1]
    assert percentile(sorted(samples), percent) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1), st.integers(0, 50), st.integers(1, 99))
def test_a_failure_never_improves_a_percentile(samples: list[float], failures: int, percent: int) -> None:
    """The trap this engine exists for: an outage must not look fast."""
    ordered = sorted(samples)
    assert percentile(ordered, percent, failures + 1) >= percentile(ordered, percent, failures)


def test_no_samples_have_no_percentile() -> None:
    """Zero would be a lie."""
    with pytest.raises(ValueError, match="at least one sample"):
        percentile([], 50)


@pytest.mark.parametrize(
    ("samples", "percent", "enough"),
    [(20, 50, True), (19, 50, False), (200, 95, True), (199, 95, False), (1000, 99, True), (999, 99, False), (100, 90, True),
     (10_000, 99.9, True), (9_999, 99.9, False)],
)  # fmt: skip
def test_ten_samples_must_lie_beyond(samples: int, percent: float, enough: bool) -> None:
    """Both sides of each boundary."""
    assert resolved(samples, percent) is enough


def test_unresolved_percentile_is_none() -> None:
    """Failures are samples too: they help to resolve, and then they show."""
    assert resolved_percentile([1.0] * 199, 95) is None
    assert resolved_percentile([1.0] * 199, 95, failures=1) == 1.0
    assert resolved_percentile([], 95, failures=200) == math.inf


def test_littles_law() -> None:
    """A thousand users, two seconds of thought, no latency: five hundred requests a second."""
    assert expected_rate(1000, 0.0, 2.0) == 500
    assert expected_rate(1000, 0.5, 2.0) == 400
    assert residual(475, 500) == pytest.approx(-0.05)
    assert residual(1, 0) == math.inf


def test_users_who_neither_wait_nor_think_imply_nothing() -> None:
    """Their rate would be infinite."""
    with pytest.raises(ValueError, match="no finite rate"):
        expected_rate(10, 0.0, 0.0)
