"""The overload figures: what counts as served and as rightly refused, and that a goal which is missed is shown as missed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.bench.overload.arrivals import Answered, poisson
from tests.bench.overload.goodput import Level, is_wrong, percentile, rows

REFUSED = Answered(0.0, 0.0, 5.0, 503, {"retry-after": "2", "outcome": "not-applied"})
SERVED = Answered(0.0, 0.0, 5.0, 200, {})


def test_the_served_and_the_rightly_refused_are_not_wrong() -> None:
    assert not any(is_wrong(one) for one in (SERVED, REFUSED, replace(REFUSED, status=429)))


@pytest.mark.parametrize(
    "wrong",
    [
        replace(REFUSED, headers={"outcome": "not-applied"}),
        replace(REFUSED, headers={"retry-after": "1", "outcome": "unknown"}),
        replace(REFUSED, headers={"retry-after": "soon", "outcome": "not-applied"}),
        replace(REFUSED, status=500),
        replace(REFUSED, status=0, headers={}),
    ],
)
def test_every_other_end_is_wrong(wrong: Answered) -> None:
    assert is_wrong(wrong)


def test_somebody_served_after_a_second_was_not_served() -> None:
    assert SERVED.good
    assert not replace(SERVED, latency_ms=1001.0).good
    assert not REFUSED.good


def test_arrivals_come_at_their_rate_whatever_is_answered_and_are_the_same_for_a_seed() -> None:
    arrivals = poisson(100, 50, [b"<number>"], "s")
    assert 4_600 < len(arrivals) < 5_400
    assert arrivals == poisson(100, 50, [b"<number>"], "s")
    assert arrivals[:50] != poisson(100, 50, [b"<number>"], "t")[:50]
    assert [arrivals[0].request, arrivals[7].request] == [b"s.0", b"s.7"]


def test_the_percentile_of_nothing_is_not_zero() -> None:
    assert percentile([], 0.99) == float("inf")
    assert percentile([float(n) for n in range(100)], 0.99) == 99.0


def level(**changes: float) -> Level:
    whole = Level(
        offered=800, goodput=100.0, p99_ms=100.0, refused=0, wrong=0, late_ms=1.0, cores=0.1, health_ms=50.0,
        ready_after_s=0.1,
    )  # fmt: skip
    return replace(whole, **changes)  # type: ignore[arg-type]


def missed(**changes: float) -> list[str]:
    """The goals that are missed when 4x is like that and all else is well."""
    return [row.name for row in rows([{1: level(), 2: level(), 4: level(**changes)}], 100.0) if not row.met]


def test_a_round_that_bends_well_meets_every_goal() -> None:
    assert missed() == []


@pytest.mark.parametrize(
    ("changes", "goal"),
    [
        ({"goodput": 89.0}, "goodput at 4x to peak"),
        ({"p99_ms": 401.0}, "p99 at 4x to 1x"),
        ({"wrong": 1}, "neither served nor rightly refused"),
        ({"health_ms": float("inf")}, "slowest health or metrics at 4x"),
        ({"ready_after_s": 2.1}, "ready again after 4x"),
        ({"late_ms": 51.0}, "generator: p99 of being late at 4x"),
        ({"cores": 0.6}, "generator: cores at 4x"),
    ],
)
def test_each_goal_can_be_missed(changes: dict[str, float], goal: str) -> None:
    assert missed(**changes) == [goal]


def test_goodput_that_falls_at_twice_the_capacity_is_a_miss() -> None:
    found = rows([{1: level(), 2: level(goodput=99.0), 4: level()}], 100.0)
    assert [row.name for row in found if not row.met] == ["goodput at 2x to 1x"]
