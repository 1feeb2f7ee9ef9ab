"""The verdict on a load: pass, fail, or the reason why nobody can tell."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from loadtests.assessment import assess
from loadtests.generator import GeneratorSample
from loadtests.history import History
from loadtests.ledger import Done, User
from loadtests.scenario import Scenario


@pytest.fixture
def day() -> History:
    """A hundred users for twenty seconds, thinking two seconds each: fifty requests a second, all answered in 10 ms."""
    users = [User(user=number, t=number / 100, up=True) for number in range(1, 101)]
    users += [User(user=number, t=24.0, up=False) for number in range(1, 101)]
    dones = [
        Done(op=None, flow="profile", user=1, t=1 + n / 49.75, d=0.01, status=200, outcome="ok", write=False)
        for n in range(1144)
    ]
    return History((), (), tuple(dones), tuple(users), "")


@pytest.fixture
def profiles_only(gym_day: Scenario) -> Scenario:
    """Everybody looks at their profile, all day long."""
    return msgspec.structs.replace(gym_day, flows=gym_day.flows[:1])


def test_good_day_passes(day: History, profiles_only: Scenario) -> None:
    """All levels met, nothing in doubt."""
    assessment = assess(day, profiles_only, [GeneratorSample(t=10.0, cpu=0.3, rss=1)])
    assert (assessment.verdict, assessment.doubts) == ("pass", ())
    assert assessment.steady.window.begin == 4.0
    assert assessment.steady.window.end == pytest.approx(23.97, abs=0.01)
    assert assessment.generator_cores == 0.3


def test_one_failed_request_fails_the_day(day: History, profiles_only: Scenario) -> None:
    """The error rate goal is zero."""
    dones = (*day.dones[:-1], msgspec.structs.replace(day.dones[-1], status=500, outcome="unknown"))
    assert assess(dataclasses.replace(day, dones=dones), profiles_only).verdict == "fail"


def test_saturated_generator_makes_it_unknown(day: History, profiles_only: Scenario) -> None:
    """It measured itself. Samples outside the steady stretch, such as its start-up, do not count."""
    busy = [GeneratorSample(t=2.0, cpu=1.0, rss=1), GeneratorSample(t=10.0, cpu=0.95, rss=1)]
    assessment = assess(day, profiles_only, busy)
    assert assessment.verdict == "unknown"
    assert assessment.doubts == ("The load generator was the bottleneck: it used 0.95 cores.",)
    assert assess(day, profiles_only, busy[:1]).verdict == "pass"


def test_ledger_cut_short_makes_it_unknown(day: History, profiles_only: Scenario) -> None:
    """An acknowledged write may be in what is missing."""
    assessment = assess(dataclasses.replace(day, cut_short="ledger.jsonl has no end line"), profiles_only)
    assert assessment.verdict == "unknown"
    assert assessment.doubts == ("The ledger was cut short: ledger.jsonl has no end line.",)


def test_nothing_sent_is_unknown(profiles_only: Scenario) -> None:
    """Never green by having nothing to complain about."""
    assessment = assess(History((), (), (), (), ""), profiles_only)
    assert (assessment.verdict, assessment.doubts) == ("unknown", ("Nothing was sent.",))


def test_load_that_never_settled_is_unknown(day: History, profiles_only: Scenario) -> None:
    """Everybody left during the first pause."""
    early = [User(user=1, t=1.0, up=True), User(user=1, t=2.0, up=False)]
    assessment = assess(dataclasses.replace(day, users=tuple(early)), profiles_only)
    assert assessment.verdict == "unknown"
    assert assessment.doubts == ("The load ended before all users were up and settled.",)


def test_too_few_samples_are_unknown(day: History, profiles_only: Scenario) -> None:
    """The steady stretch holds fewer requests than the scenario asks for."""
    few = dataclasses.replace(day, dones=day.dones[:200])
    assert assess(few, profiles_only).verdict == "unknown"
