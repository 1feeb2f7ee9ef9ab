"""Levels that are lost before the load is over, and those that can still be met."""

from __future__ import annotations

import msgspec
import pytest

from loadtests.fail_fast import Prospects
from loadtests.ledger import Done, Line, User
from loadtests.scenario import ErrorLevel, LatencyLevel, Level, Scenario
from loadtests.shape import Shape, Stage

TEN_USERS = Shape("closed", (Stage(seconds=10, target=10), Stage(seconds=90, target=10)))
"""With pauses of a second at least, ten users can make no more than ten requests a second."""

TEN_A_SECOND = Shape("open", (Stage(seconds=10, target=10), Stage(seconds=90, target=10)))
P95 = LatencyLevel(percentile=95, gate_ms=500)


def prospects(gym_day: Scenario, *levels: Level, shape: Shape = TEN_USERS) -> Prospects:
    return Prospects(msgspec.structs.replace(gym_day, levels=levels), shape)


def requests(times: int, t: float, *, d: float = 0.01, status: int = 200, flow: str = "profile") -> list[Line]:
    outcome = "ok" if status == 200 else "unknown"
    done = Done(op=None, flow=flow, user=1, t=t, d=d, status=status, outcome=outcome, write=False)  # type: ignore[arg-type]
    return [done] * times


BEGUN: list[Line] = [User(user=1, t=0.0, up=True)]


def test_nothing_is_lost_before_anything_began(gym_day: Scenario) -> None:
    """Not even with a goal of none."""
    assert prospects(gym_day, ErrorLevel(gate_share=0)).lost(50.0) == ""


def test_first_failure_loses_a_goal_of_none(gym_day: Scenario) -> None:
    """Even one in the ramp."""
    found = prospects(gym_day, ErrorLevel(gate_share=0))
    found.feed([*BEGUN, *requests(20, 5.0)])
    assert found.lost(6.0) == ""
    found.feed(requests(1, 6.0, status=500))
    assert found.lost(7.0) == "error rate cannot be met any more: 1 of 21 requests so far failed."


def test_share_is_lost_when_the_rest_cannot_dilute_it(gym_day: Scenario) -> None:
    """A tenth may fail. Of a hundred requests fifty failed; early on 900 can follow, at the end hardly any."""
    found = prospects(gym_day, ErrorLevel(gate_share=0.1))
    found.feed([*BEGUN, *requests(50, 20.0), *requests(50, 20.0, status=500)])
    assert found.lost(20.0) == ""
    assert found.lost(95.0).startswith("error rate cannot be met any more: 50 of 100")


@pytest.mark.parametrize("shape", [TEN_USERS, TEN_A_SECOND])
def test_slow_requests_lose_a_percentile(gym_day: Scenario, shape: Shape) -> None:
    """A twentieth of 1000 may be slow; sixty are."""
    found = prospects(gym_day, P95, shape=shape)
    found.feed([*BEGUN, *requests(30, 20.0, d=0.9)])
    assert found.lost(20.0) == ""
    found.feed(requests(30, 20.0, d=0.9))
    assert "p95 of all requests cannot be met any more: 60 of 60" in found.lost(20.0)


def test_ramp_does_not_count_against_latency(gym_day: Scenario) -> None:
    """It is no time to measure speed."""
    found = prospects(gym_day, P95)
    found.feed([*BEGUN, *requests(500, 9.0, d=2.0)])
    assert found.lost(10.0) == ""


def test_other_flows_and_other_seconds_do_not_count(gym_day: Scenario) -> None:
    """A level of one flow, a level of a window."""
    found = prospects(
        gym_day,
        ErrorLevel(gate_share=0, flow="join"),
        ErrorLevel(gate_share=0, from_s=50),
        ErrorLevel(gate_share=0, to_s=2),
    )
    found.feed([*BEGUN, *requests(5, 40.0, status=500)])
    assert found.lost(41.0) == ""
    found.feed(requests(1, 80.0, status=500))
    assert found.lost(81.0).startswith("error rate, 50- s cannot be met")
