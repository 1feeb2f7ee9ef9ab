"""Signing users up over HTTP: what comes out can play the scenario, and a refusal is passed on."""

from __future__ import annotations

import pytest

from loadtests.errors import RecruitError
from loadtests.recruit import recruit
from loadtests.scenario import Scenario
from loadtests.virtual_user import Script
from tests.loadtests.stub import Stub


def test_recruited_users_can_play_the_scenario(stub: Stub, gym_day: Scenario) -> None:
    """Sessions, tournaments to enter and a match for each; every write carried an operation id."""
    stub.start()
    told: list[tuple[int, int]] = []
    people = recruit(stub.url, 5, "R", told=lambda ready, wanted: told.append((ready, wanted)))
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert len({player.token for player in people.users}) == 5
    assert len(people.tournaments) == 1
    assert [(match.home_id, match.away_id) for match in people.matches] == [
        (people.users[0].id, people.users[1].id),
        (people.users[2].id, people.users[3].id),
    ]
    assert len(stub.applied()) == 5 * 2 + 2 + 2 * 3
    Script(gym_day, people, seed=1, run="R", users=5)


def test_names_are_new_every_time(stub: Stub) -> None:
    """So that the same service can be loaded twice."""
    stub.start()
    first, second = (recruit(stub.url, 1, f"R{number}") for number in (1, 2))
    assert first.users[0].name != second.users[0].name


def test_refusal_is_passed_on(stub: Stub) -> None:
    """With the service's own words."""
    stub.start()
    with pytest.raises(RecruitError, match=r"answered 404 to POST /users \(.*not-found.*\); give it a population"):
        recruit(f"{stub.url}/elsewhere", 1, "R")


def test_absent_service_is_named() -> None:
    """Nobody listens there."""
    with pytest.raises(RecruitError, match=r"http://127\.0\.0\.1:9.* did not answer POST /users \(ConnectError\)"):
        recruit("http://127.0.0.1:9", 1, "R")
