"""Service levels: each can pass, each can fail, and each says when it cannot tell."""

from __future__ import annotations

import math
from typing import Literal

import pytest

from loadtests.measure import Figures, Observation, Request, Window, figures
from loadtests.scenario import ErrorLevel, LatencyLevel, RateLevel
from loadtests.service_levels import Judged, judge

P95 = LatencyLevel(percentile=95, gate_ms=500, aim_ms=50)
NO_ERRORS = ErrorLevel(gate_share=0)
RATE = RateLevel(gate_share=0.05)


def observation(*found: Request, expected_rate: float | None = None) -> Observation:
    total: Figures = figures("all", found, seconds=10.0)
    return Observation(Window(0.0, 10.0), found, total, (total,), users=10.0, expected_rate=expected_rate)


def good(times: int, d: float = 0.01, flow: str = "profile") -> tuple[Request, ...]:
    return (Request(flow, 0.0, d, 200, good=True),) * times


def bad(times: int, status: int = 0, flow: str = "profile") -> tuple[Request, ...]:
    return (Request(flow, 0.0, 0.001, status, good=False),) * times


def judged(level: LatencyLevel | ErrorLevel | RateLevel, found: Observation, samples_min: int = 1) -> Judged:
    (one,) = judge([level], found, found, samples_min=samples_min)
    return one


def test_fast_enough() -> None:
    """Under the gate and under the aim."""
    one = judged(P95, observation(*good(200)))
    assert (one.name, one.goal, one.unit) == ("p95 of all requests", "at most 500 ms (aim 50 ms)", "ms")
    assert (one.measured, one.result, one.why, one.aim_met) == (10.0, "pass", "", True)


def test_missed_aim_does_not_gate() -> None:
    """A busy machine prints it and stays green."""
    one = judged(P95, observation(*good(200, d=0.4)))
    assert (one.result, one.why, one.aim_met) == ("pass", "slower than the aim", False)


def test_exactly_at_the_gate_passes() -> None:
    """At most means at most."""
    assert judged(P95, observation(*good(200, d=0.5))).result == "pass"


def test_too_slow() -> None:
    """By how much."""
    one = judged(P95, observation(*good(200, d=0.75)))
    assert (one.measured, one.result, one.why) == (750.0, "fail", "250 ms too slow")


def test_outage_fails_the_latency_level() -> None:
    """Refused in a millisecond each: other tools would call that fast."""
    one = judged(P95, observation(*good(180), *bad(20)))
    assert (one.measured, one.result) == (math.inf, "fail")
    assert one.why == "20 of 200 requests failed, and a failure counts as infinitely slow"


def test_everything_failed() -> None:
    """A dead server has no latency to praise."""
    assert judged(P95, observation(*bad(200))).result == "fail"


def test_few_failures_leave_a_percentile_alone() -> None:
    """Five of two hundred lie beyond the p95; the error level is there for them."""
    assert judged(P95, observation(*good(195), *bad(5))).result == "pass"


def test_latency_not_resolved() -> None:
    """199 requests do not hold ten beyond their p95."""
    one = judged(P95, observation(*good(199)))
    assert (one.measured, one.result, one.why) == (None, "unknown", "not resolved by 199 requests")


@pytest.mark.parametrize("level", [P95, NO_ERRORS, RATE])
def test_nothing_sent_is_unknown(level: LatencyLevel | ErrorLevel | RateLevel) -> None:
    """Zero requests, zero errors, and no pass."""
    one = judged(level, observation())
    assert (one.measured, one.result, one.why) == (None, "unknown", "nothing was sent")


@pytest.mark.parametrize("level", [P95, NO_ERRORS, RATE])
def test_too_few_samples_are_unknown(level: LatencyLevel | ErrorLevel | RateLevel) -> None:
    """The scenario's floor holds for every level."""
    one = judged(level, observation(*good(200), expected_rate=20.0), samples_min=201)
    assert (one.result, one.why) == ("unknown", "200 requests, 201 needed")


def test_level_of_one_flow_looks_at_that_flow_only() -> None:
    """A slow flow is not hidden by a fast one, and a flow that never ran is unknown."""
    found = observation(*good(1000), *good(200, d=2.0, flow="join"))
    join = LatencyLevel(percentile=95, gate_ms=500, flow="join")
    assert (judged(join, found).name, judged(join, found).result) == ("p95 of join", "fail")
    assert judged(LatencyLevel(percentile=95, gate_ms=500, flow="settle"), found).why == "nothing was sent"
    assert judged(ErrorLevel(gate_share=0, flow="join"), found).result == "pass"


def test_no_errors() -> None:
    """The only way to pass."""
    one = judged(NO_ERRORS, observation(*good(200)))
    assert (one.measured, one.result, one.goal) == (0.0, "pass", "0")


def test_one_error_is_one_too_many() -> None:
    """And it is said where."""
    one = judged(NO_ERRORS, observation(*good(199), *bad(1, status=500, flow="join")))
    assert (one.measured, one.result) == (0.005, "fail")
    assert one.why == "1 failed, most often join with status 500"


def test_errors_fail_however_few_the_samples() -> None:
    """One error in ten requests needs no statistics."""
    one = judged(NO_ERRORS, observation(*good(9), *bad(1)), samples_min=200)
    assert (one.result, one.why) == ("fail", "1 failed, most often profile with no answer")


def test_allowed_share_of_errors() -> None:
    """Up to the share, and not beyond."""
    level = ErrorLevel(gate_share=0.01)
    assert judged(level, observation(*good(99), *bad(1))).result == "pass"
    assert judged(level, observation(*good(98), *bad(2))).result == "fail"


def test_errors_of_the_ramp_count_though_its_latency_does_not() -> None:
    """The steady stretch was clean; the run was not."""
    steady, whole = observation(*good(200)), observation(*good(300), *bad(1))
    latency, errors = judge([P95, NO_ERRORS], steady, whole)
    assert (latency.result, errors.result) == ("pass", "fail")


@pytest.mark.parametrize(
    ("expected_rate", "result"), [(20.0, "pass"), (20.9, "pass"), (21.2, "fail"), (19.0, "fail"), (19.1, "pass")]
)
def test_rate_must_close_with_littles_law(expected_rate: float, result: str) -> None:
    """Two hundred requests in ten seconds; too few and too many are both suspicious."""
    assert judged(RATE, observation(*good(200), expected_rate=expected_rate)).result == result


def test_rate_without_users_is_unknown() -> None:
    """A ledger that names no users implies no rate."""
    one = judged(RATE, observation(*good(200)))
    assert (one.result, one.why) == ("unknown", "no virtual user was seen in the measured window")


def spread(*slow_at: float) -> Observation:
    """A request every tenth of a second for forty seconds, slow at these whole seconds, failed at none."""
    found = tuple(
        Request("profile", 100 + n / 10, 0.9 if n // 10 in slow_at else 0.01, 200, good=True) for n in range(400)
    )
    total = figures("all", found, seconds=40.0)
    return Observation(Window(100.0, 140.0), found, total, (total,), users=10.0, expected_rate=None)


@pytest.mark.parametrize(
    ("from_s", "to_s", "result", "name"),
    [
        (None, 20.0, "pass", "p50 of all requests, 0-20 s"),
        (20.0, 24.0, "fail", "p50 of all requests, 20-24 s"),
        (24.0, None, "pass", "p50 of all requests, 24- s"),
        (40.0, None, "unknown", "p50 of all requests, 40- s"),
    ],
)
def test_window_holds_its_seconds_alone(from_s: float | None, to_s: float | None, result: str, name: str) -> None:
    """Four bad seconds in forty spoil the window they are in; a window nobody was in tells nothing."""
    level = LatencyLevel(percentile=50, gate_ms=500, from_s=from_s, to_s=to_s)
    one = judged(level, spread(20, 21, 22, 23))
    assert (one.result, one.name) == (result, name)


def test_errors_in_a_window() -> None:
    """The failure before it is somebody else's."""
    good = spread()
    requests = (Request("profile", 101.0, 0.01, 500, good=False), *good.requests)
    found = Observation(good.window, requests, good.total, good.flows, users=10.0, expected_rate=None)
    assert judged(ErrorLevel(gate_share=0, from_s=10), found).result == "pass"
    assert judged(ErrorLevel(gate_share=0, to_s=10), found).result == "fail"
    assert judged(ErrorLevel(gate_share=0), found).result == "fail"


@pytest.mark.parametrize(
    ("unit", "measured", "told"),
    [("share", 0.00123, "0.12%"), ("ms", 12.34, "12.3 ms"), ("ms", math.inf, "failed"), ("ms", None, "-")],
)
def test_what_was_measured_is_told_in_its_unit(unit: Literal["ms", "share"], measured: float | None, told: str) -> None:
    assert Judged("a level", "a goal", unit, measured, "fail").told == told
