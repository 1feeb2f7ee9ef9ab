"""Doubts: each reason to distrust a run is given when it is there, and only then."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from loadtests.assessment import Assessment, assess
from loadtests.generator import GeneratorSample
from loadtests.history import History
from loadtests.ledger import Clock, Done, User
from loadtests.scenario import Scenario
from loadtests.shape import Shape, Stage

CLOCK = Clock(run="R", tool="locust", mono=0.0, wall=0.0, pid=1)


def day(
    *, rate: float = 49.75, lag: float | None = 0.2, flows: tuple[str, ...] = ("profile",), seconds: int = 60
) -> History:
    """A hundred users who pause two seconds on average and are answered in 10 ms: 49.75 requests a second, evenly."""
    users = [User(user=number, t=number / 100, up=True) for number in range(1, 101)]
    users += [User(user=number, t=seconds + 1.0, up=False) for number in range(1, 101)]
    dones = [
        Done(op=None, flow=flows[n % len(flows)], user=n % 100 + 1, t=1 + n / rate, d=0.01, status=200, outcome="ok",
             write=False, lag=lag)
        for n in range(int(seconds * rate))
    ]  # fmt: skip
    return History((CLOCK,), (), tuple(dones), tuple(users), "")


@pytest.fixture
def profiles_only(gym_day: Scenario) -> Scenario:
    return msgspec.structs.replace(gym_day, flows=gym_day.flows[:1])


def only_doubt(found: Assessment) -> str:
    assert found.verdict == "unknown"
    (doubt,) = found.doubts
    return doubt


def test_sound_day_has_no_doubts(profiles_only: Scenario) -> None:
    """Everything closes."""
    found = assess(day(), profiles_only, length_s=61.0)
    assert (found.verdict, found.doubts) == ("pass", ())


@pytest.mark.parametrize(("rate", "off"), [(49.75 * 0.93, "7%"), (49.75 * 1.08, "8%")])
def test_law_that_does_not_close(profiles_only: Scenario, rate: float, off: str) -> None:
    """Too few requests for the users there were, or too many; within a twentieth is well."""
    scenario = msgspec.structs.replace(profiles_only, levels=profiles_only.levels[:2])
    doubt = only_doubt(assess(day(rate=rate), scenario))
    assert doubt.startswith("Little's law does not close: ")
    assert doubt.endswith(f"off by {off}.")
    assert assess(day(rate=49.75 * 0.96), scenario).doubts == ()


def test_late_starts(profiles_only: Scenario) -> None:
    """One slow start in a thousand is chance, one in fifty is a generator out of breath."""
    whole = day()
    late = [msgspec.structs.replace(done, lag=300.0) if n % 50 == 0 else done for n, done in enumerate(whole.dones)]
    doubt = only_doubt(assess(dataclasses.replace(whole, dones=tuple(late)), profiles_only))
    assert doubt == (
        "The load generator was the bottleneck: 1 requests in a hundred began 300 ms late or more, and 100 ms are allowed."
    )
    few = [msgspec.structs.replace(done, lag=300.0) if n % 1000 == 0 else done for n, done in enumerate(whole.dones)]
    assert assess(dataclasses.replace(whole, dones=tuple(few)), profiles_only).doubts == ()


def test_lag_charges_those_who_came_on_time(profiles_only: Scenario) -> None:
    """What was answered in 10 ms but begun 50 ms late has kept somebody waiting for 60."""
    steady = assess(day(lag=50.0), profiles_only).steady
    assert steady.total.p95_ms == pytest.approx(10.0)
    assert steady.offered_p95_ms == pytest.approx(60.0)


def test_dropped_arrivals(profiles_only: Scenario) -> None:
    """A single one."""
    doubt = only_doubt(assess(dataclasses.replace(day(), dropped=1), profiles_only))
    assert doubt == "The load generator was the bottleneck: it dropped 1 arrivals that found nobody free."


def test_busiest_process_counts(profiles_only: Scenario) -> None:
    """Two processes on a core each are not half idle when one of them is full."""
    samples = [GeneratorSample(t=20.0, cpu=1.1, rss=1, busiest=0.97)]
    assert "it used 0.97 cores" in only_doubt(assess(day(), profiles_only, samples))
    relaxed = [GeneratorSample(t=20.0, cpu=1.1, rss=1, busiest=0.6)]
    assert assess(day(), profiles_only, relaxed).doubts == ()


def test_early_end(profiles_only: Scenario) -> None:
    """It was to last two minutes."""
    assert only_doubt(assess(day(), profiles_only, length_s=120.0)) == (
        "The load was ended early: it lasted 61 of 120 s."
    )


def test_no_level_at_all(profiles_only: Scenario) -> None:
    """Nothing can be wrong where nothing is asked."""
    assert "no service level" in only_doubt(assess(day(), msgspec.structs.replace(profiles_only, levels=())))


def test_flow_that_never_ran(gym_day: Scenario) -> None:
    """Two flows of the same weight, one of them never seen in three thousand steps."""
    scenario = msgspec.structs.replace(gym_day, flows=(gym_day.flows[0], gym_day.flows[4]))
    assert only_doubt(assess(day(), scenario)).startswith("The flow tournament was never played")
    assert assess(day(flows=("profile", "tournament")), scenario).doubts == ()


def test_flow_that_needs_others_is_given_time(gym_day: Scenario) -> None:
    """Nobody has accepted a challenge after thirty steps each; after two hundred it is a mistake."""
    names = ("profile", "challenges", "accept")
    flows = tuple(flow for flow in gym_day.flows if flow.name in names)
    scenario = msgspec.structs.replace(gym_day, flows=flows)
    seen: Any = ("profile", "challenges")
    assert assess(day(flows=seen), scenario).doubts == ()
    assert only_doubt(assess(day(flows=seen, seconds=400), scenario)).startswith("The flow accept was never played")


def test_open_load_must_keep_its_rate(profiles_only: Scenario) -> None:
    """Fifty a second were to come; forty did."""
    shape = Shape("open", (Stage(seconds=0, target=50), Stage(seconds=60, target=50)))
    history = dataclasses.replace(day(rate=50.0), users=())
    assert assess(history, profiles_only, shape=shape).verdict == "pass"
    slow = dataclasses.replace(day(rate=40.0, seconds=75), users=())
    assert only_doubt(assess(slow, profiles_only, shape=shape)).startswith(
        "The rate is not what it was meant to be: 40.0"
    )


def test_stopped_load_has_failed(profiles_only: Scenario) -> None:
    """However little else it can tell."""
    found = assess(day(seconds=2), profiles_only, stopped="error rate cannot be met any more", length_s=60.0)
    assert found.verdict == "fail"
    assert found.doubts
