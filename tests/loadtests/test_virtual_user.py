"""Virtual users: seeded choices, ids that move between bags, and bodies the service understands."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from loadtests.errors import PopulationError
from loadtests.population import Population
from loadtests.scenario import Scenario
from loadtests.schedule import user_steps
from loadtests.virtual_user import BAG_SIZE, Script, Step, VirtualUser


def make(scenario: Scenario, people: Population, *, seed: int = 7, users: int = 1) -> Script:
    return Script(scenario, people, seed=seed, run="R", users=users)


def only(scenario: Scenario, *names: str) -> Scenario:
    """The scenario with no weight on any flow but these."""
    flows = tuple(msgspec.structs.replace(flow, weight=1.0 if flow.name in names else 0.0) for flow in scenario.flows)
    return msgspec.structs.replace(scenario, flows=flows)


def bag_of(user: VirtualUser, name: str) -> list[int]:
    return user._bags.get(name, [])


def visitor(number: int, script: Script) -> VirtualUser:
    """The user with the steps that the schedule has for them."""
    steps = list(user_steps(script.scenario, script.seed, number, 4000, script.population.password is not None))
    return VirtualUser(number, script, steps[-1].steps)


def go_on(user: VirtualUser, script: Script) -> None:
    """The same user, with all that it knows, goes on with another script."""
    other = visitor(user.number, script)
    user._script, user._planned = script, other._planned


def act(user: VirtualUser) -> Step:
    user.think()
    return user.next_step()


def take(user: VirtualUser, flow: str) -> Step:
    step = act(user)
    assert step.flow.name == flow
    return step


def test_same_seed_same_steps(gym_day: Scenario, people: Population) -> None:
    """User 3 of seed 7 does the same on every run."""
    first, again = (visitor(3, make(gym_day, people)) for _ in range(2))
    assert [(first.think(), first.next_step()) for _ in range(200)] == [
        (again.think(), again.next_step()) for _ in range(200)
    ]


@pytest.mark.parametrize(("number", "seed"), [(4, 7), (3, 8)])
def test_another_user_or_seed_does_something_else(
    gym_day: Scenario, people: Population, number: int, seed: int
) -> None:
    """No two users walk in step."""
    one = visitor(3, make(gym_day, people))
    other = visitor(number, make(gym_day, people, seed=seed))
    assert [act(one).path for _ in range(50)] != [act(other).path for _ in range(50)]


def test_pauses_stay_within_the_scenario(gym_day: Scenario, people: Population) -> None:
    """One to three seconds, and not always the same."""
    user = visitor(1, make(gym_day, people))
    pauses = [user.think() for _ in range(200)]
    assert 1 <= min(pauses) < 1.2
    assert 2.8 < max(pauses) <= 3


def test_flows_come_by_weight(gym_day: Scenario, people: Population) -> None:
    """Ten thousand draws land within a tenth of what the weights say, for every flow that is not rare."""
    steps = [step for one in user_steps(gym_day, 7, 100, 120) for step in one.steps][:10_000]
    drawn = Counter(gym_day.flows[flow].name for flow, _ in steps)
    total = sum(flow.weight for flow in gym_day.flows)
    for flow in gym_day.flows:
        if flow.weight >= 50:
            assert drawn[flow.name] == pytest.approx(10_000 * flow.weight / total, rel=0.2)


def test_write_carries_an_operation_id_of_its_own(gym_day: Scenario, people: Population) -> None:
    """Run, user, step; never the same twice. A read carries none."""
    user = visitor(17, make(gym_day, people))
    steps = [user.next_step() for _ in range(300)]
    ids = [step.op for step in steps if step.op is not None]
    assert len(ids) == len(set(ids))
    assert all(op.startswith("R.17.") for op in ids)
    assert all((step.op is not None) == step.flow.write for step in steps)


def test_bodies_are_json_with_typed_values(gym_day: Scenario, people: Population) -> None:
    """Every write of the shipped scenario renders to what the service's contract asks for."""
    user = visitor(1, make(gym_day, people))
    bodies: dict[str, Any] = {}
    for _ in range(2000):
        step = act(user)
        assert "{" not in step.path
        if step.flow.write:
            bodies[step.flow.name] = json.loads(step.body)
        else:
            assert step.body == b""
        user.learn(step, "ok", 201, b"{}")
    assert bodies["score"]["side"] in ("home", "away")
    assert 1 <= bodies["score"]["points"] <= 10
    assert 1 <= bodies["challenge"]["stake"] <= 5
    assert bodies["challenge"]["opponent_id"] in range(2, 25)
    assert bodies["log-in"] == {"name": "u0001", "password": "correct horse battery"}
    assert bodies["edit-profile"]["bio"].endswith("of user 1.")


def test_own_matches_are_scored_again_and_again(gym_day: Scenario, people: Population) -> None:
    """The id comes back to its bag when the write is acknowledged."""
    user = visitor(3, make(only(gym_day, "score"), people))
    for _ in range(3):
        step = take(user, "score")
        assert step.path == "/matches/502/events"
        assert bag_of(user, "matches") == []
        user.learn(step, "ok", 201, b"{}")
    assert bag_of(user, "matches") == [502]


def test_refused_id_is_forgotten_and_the_flow_falls_back(gym_day: Scenario, people: Population) -> None:
    """A closed match is no use; the user looks at a tournament instead."""
    user = visitor(3, make(only(gym_day, "score"), people))
    user.learn(take(user, "score"), "refused", 409, b"{}")
    assert bag_of(user, "matches") == []
    take(user, "tournament")


@pytest.mark.parametrize(("outcome", "status"), [("unknown", 0), ("unknown", 500), ("refused", 0), ("refused", 503)])
def test_id_comes_back_when_nothing_may_have_happened(
    gym_day: Scenario, people: Population, outcome: Any, status: int
) -> None:
    """An outage must not use up what users know."""
    user = visitor(3, make(only(gym_day, "score"), people))
    user.learn(take(user, "score"), outcome, status, b"")
    assert bag_of(user, "matches") == [502]


def test_each_open_tournament_is_entered_once(gym_day: Scenario, people: Population) -> None:
    """Of four, one is closed and one is where the user plays a match already; a third attempt is a look at the list."""
    user = visitor(1, make(only(gym_day, "join"), people))
    entered = []
    for _ in range(2):
        step = take(user, "join")
        entered.append(step.path)
        user.learn(step, "ok", 201, b"{}")
    assert sorted(entered) == ["/tournaments/102/entries", "/tournaments/103/entries"]
    take(user, "tournaments")


def test_challenges_are_learnt_accepted_and_settled(gym_day: Scenario, people: Population) -> None:
    """Only those that are issued, and issued to this user."""
    user = visitor(1, make(only(gym_day, "challenges"), people))
    answer = {
        "challenges": [
            {"id": 1, "opponent_id": 1, "state": "issued"},
            {"id": 2, "opponent_id": 9, "state": "issued"},
            {"id": 3, "opponent_id": 1, "state": "accepted"},
        ]
    }
    for _ in range(2):
        user.learn(take(user, "challenges"), "ok", 200, json.dumps(answer).encode())
    assert bag_of(user, "received") == [1]

    go_on(user, make(only(gym_day, "accept"), people))
    step = take(user, "accept")
    assert step.path == "/challenges/1/accept"
    user.learn(step, "ok", 200, b"{}")
    assert (bag_of(user, "received"), bag_of(user, "accepted")) == ([], [1])

    go_on(user, make(only(gym_day, "settle"), people))
    step = take(user, "settle")
    assert (step.path, step.body) == ("/challenges/1/settle", b'{"winner_id":1}')
    user.learn(step, "ok", 200, b"{}")
    take(user, "challenges")


@pytest.mark.parametrize(
    "content", [b"", b"not json", b"[]", b"{}", b'{"challenges":null}', b'{"challenges":[1,null,{"id":"x"}]}']
)
def test_strange_answers_teach_nothing(gym_day: Scenario, people: Population, content: bytes) -> None:
    """A sabotaged service must not break the generator."""
    user = visitor(1, make(only(gym_day, "challenges"), people))
    user.learn(take(user, "challenges"), "ok", 200, content)
    assert bag_of(user, "received") == []


def test_memory_is_bounded(gym_day: Scenario, people: Population) -> None:
    """A long run must not fill the generator with ids."""
    user = visitor(1, make(only(gym_day, "notifications"), people))
    answer = {"notifications": [{"id": id_} for id_ in range(200)]}
    user.learn(take(user, "notifications"), "ok", 200, json.dumps(answer).encode())
    assert len(bag_of(user, "unread")) == BAG_SIZE


def test_without_a_shared_password_nobody_logs_in(gym_day: Scenario, people: Population) -> None:
    """The rest of the scenario is played all the same."""
    user = visitor(1, make(gym_day, with_changes(people, password=None)))
    assert "log-in" not in {act(user).flow.name for _ in range(2000)}


@pytest.mark.parametrize(
    ("changes", "users", "complaint"),
    [
        ({}, 25, "25 users are wanted and the population has 24"),
        ({"tournaments": ()}, 1, "needs a tournament and the population has none"),
    ],
)
def test_population_must_fill_the_scenario(
    gym_day: Scenario, people: Population, changes: dict[str, Any], users: int, complaint: str
) -> None:
    """Found before anything is sent."""
    with pytest.raises(PopulationError, match=complaint):
        make(gym_day, with_changes(people, **changes), users=users)


def test_lonely_user_cannot_challenge(gym_day: Scenario, people: Population) -> None:
    """There must be somebody else."""
    with pytest.raises(PopulationError, match="needs another player"):
        make(gym_day, with_changes(people, users=people.users[:1]))


def with_changes(people: Population, **changes: Any) -> Population:
    return msgspec.structs.replace(people, **changes)
