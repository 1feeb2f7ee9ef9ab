"""Coordinated omission on requests written out literally: what a stall hides, and what is added for it."""

from __future__ import annotations

import math

import pytest

from loadtests.history import History
from loadtests.ledger import Done, User
from loadtests.measure import Request, observe
from loadtests.omission import closed_model, look, open_model
from loadtests.scenario import Scenario


def answered(d: float, *, lag_ms: float | None = None, good: bool = True) -> Request:
    return Request("profile", 0.0, d, 200 if good else 500, good, lag_ms)


def test_a_stall_is_charged_to_what_would_have_been_sent_meanwhile() -> None:
    """Pause 0.99 s and median latency 10 ms make one request a second: 6 s hide those that would have waited 5, 4, ... 1."""
    seen = closed_model([*[answered(0.01)] * 9, answered(6.0)], pause_s=0.99)
    assert seen.interval_s == pytest.approx(1.0)
    assert seen.added == 5
    assert (seen.raw.samples, seen.corrected.samples) == (10, 15)


def test_the_rest_that_is_shorter_than_the_interval_is_a_usual_wait() -> None:
    """After 2.5 s at one a second only the one with 1.5 s left is added: the next would not have been held up by much."""
    assert closed_model([*[answered(0.0)] * 9, answered(2.5)], pause_s=1.0).added == 1


def test_without_a_stall_nothing_is_added() -> None:
    seen = closed_model([answered(0.05)] * 1000, pause_s=0.1)
    assert seen.added == 0
    assert (seen.raw.p50_ms, seen.raw.p99_ms) == (seen.corrected.p50_ms, seen.corrected.p99_ms)
    assert seen.corrected.p99_ms == pytest.approx(50)


def test_the_corrected_percentile_is_the_analytic_one() -> None:
    """Ten users, ten requests a second each, 60 s with 6 s of silence: 1 % of 60 s is 0.6 s, so p99 is 5.4 s."""
    usual, stuck = [answered(0.0)] * (10 * 10 * 54), [answered(6.0 - n / 1000) for n in range(10)]
    seen = closed_model([*usual, *stuck], pause_s=0.1)
    assert seen.raw.p99_ms == 0.0
    assert seen.corrected.p99_ms == pytest.approx(5400, rel=0.01)


def test_failures_that_took_long_are_multiplied_and_stay_failures() -> None:
    """A timeout of 5 s at one request a second stands for four more that would have failed."""
    seen = closed_model([*[answered(0.0)] * 1995, answered(5.0, good=False)], pause_s=1.0)
    assert seen.corrected.samples == 2000
    assert seen.raw.p99_ms == seen.corrected.p99_ms == 0.0
    worse = closed_model([*[answered(0.0)] * 985, *[answered(5.0, good=False)] * 3], pause_s=1.0)
    assert worse.raw.p99_ms is None, "988 requests do not resolve a p99"
    assert worse.corrected.p99_ms is not None
    assert math.isinf(worse.corrected.p99_ms)


def test_a_request_whose_end_was_never_seen_is_a_failure_once() -> None:
    seen = closed_model([Request("profile", 0.0, None, 0, good=False)], pause_s=1.0)
    assert (seen.raw.samples, seen.corrected.samples) == (1, 1)


def test_without_pause_and_latency_there_is_no_interval_to_count_by() -> None:
    assert closed_model([answered(0.0)] * 3 + [answered(1.0)], pause_s=0.0).added == 0


def test_the_open_model_charges_from_the_intended_start() -> None:
    seen = open_model([*[answered(0.01, lag_ms=0.0)] * 980, *[answered(0.01, lag_ms=990.0)] * 20])
    assert seen.raw.p99_ms == pytest.approx(10)
    assert seen.corrected.p99_ms == pytest.approx(1000)
    assert (seen.interval_s, seen.added) == (None, 0)
    assert "meant to begin" in seen.method


def test_who_came_and_went_tells_the_model(gym_day: Scenario) -> None:
    """Only the closed model has users that are up."""
    done = Done(
        op=None, flow="profile", user=1, t=2.0, d=0.1, status=200, outcome="ok", write=False, lag=400.0
    )  # fmt: skip
    arrivals = History((), (), (done,), (), "")
    visitors = History((), (), (done,), (User(user=1, t=1.0, up=True),), "")
    assert look(arrivals, gym_day, observe(arrivals, gym_day)).model == "open"
    seen = look(visitors, gym_day, observe(visitors, gym_day))
    assert seen.model == "closed"
    assert seen.interval_s == pytest.approx(2.1)
    assert "closed model: with the 0 requests" in seen.method
