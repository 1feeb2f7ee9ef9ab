"""Scenario files: the one that ships is sound, and every way of being wrong gets one sentence naming the field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadtests import scenario_file
from loadtests.errors import ScenarioError
from loadtests.scenario import GYM_DAY, LatencyLevel, Scenario

Spoil = Callable[[dict[str, Any]], object]


def flow(content: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in content["flows"] if one["name"] == name)


def read_spoilt(tmp_path: Path, content: dict[str, Any], spoil: Spoil) -> str:
    spoil(content)
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ScenarioError) as caught:
        scenario_file.read(path)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_shipped_scenario_is_sound(gym_day: Scenario) -> None:
    """It parses, and promises what the project promises."""
    assert gym_day.load.users == 1000
    assert (gym_day.think.min_s, gym_day.think.max_s, gym_day.think.mean_s) == (1, 3, 2)
    latency = next(level for level in gym_day.levels if isinstance(level, LatencyLevel))
    assert (latency.percentile, latency.gate_ms, latency.aim_ms) == (95, 500, 50)


def test_shipped_scenario_writes_a_third_at_most_and_a_quarter_at_least(gym_day: Scenario) -> None:
    """With empty bags the flows that need one fall back to reads; with full bags none does."""
    total = sum(one.weight for one in gym_day.flows)
    writes = sum(one.weight for one in gym_day.flows if one.write)
    always = sum(one.weight for one in gym_day.flows if one.write and one.takes in (None, "matches", "tournaments"))
    assert 0.24 <= always / total <= writes / total <= 0.36


def test_shipped_scenario_logs_in_at_most_twice_a_second_at_1000_users(gym_day: Scenario) -> None:
    """A log-in costs the service fifty milliseconds of a core."""
    total = sum(one.weight for one in gym_day.flows)
    log_in = gym_day.flow("log-in")
    assert log_in is not None
    assert log_in.weight / total * 1000 / gym_day.think.mean_s <= 2


CASES: list[tuple[Spoil, str]] = [
    (lambda c: flow(c, "profile").update(weight=-1), "flows[0] (profile).weight is -1; give 0 or more."),
    (lambda c: c.update(flows=[]), "flows is empty; name at least one flow."),
    (
        lambda c: [one.update(weight=0) for one in c["flows"]],
        "flows have no weight between them; give at least one a weight above 0.",
    ),
    (
        lambda c: c["levels"][0].update(from_s=-1),
        "levels[0].from_s is -1; give 0 (the first measured second) or more.",
    ),
    (
        lambda c: c["levels"][1].update(from_s=10, to_s=10),
        "levels[1].to_s is 10; give seconds after from_s (10).",
    ),
    (lambda c: c["profiles"]["smoke"].update(users=0, stages=[]), "profiles.smoke.users is 0; give 1 or more."),
    (lambda c: c["profiles"]["smoke"].update(stages=[]), "profiles.smoke.stages is empty; give at least one."),
    (
        lambda c: c["profiles"]["arrivals"]["stages"][0].update(seconds=-1),
        "profiles.arrivals.stages[0].seconds is -1; give 0 (a jump) or more.",
    ),
    (
        lambda c: c["profiles"]["arrivals"]["stages"][0].update(target=-1),
        "profiles.arrivals.stages[0].target is -1; give 0 or more.",
    ),
    (
        lambda c: [stage.update(target=0) for stage in c["profiles"]["smoke"]["stages"]],
        "profiles.smoke.stages come to nothing; give one with seconds and a target above 0.",
    ),
    (
        lambda c: c["profiles"]["spike"]["levels"][1].update(flow="profil"),
        "profiles.spike.levels[1].flow names 'profil', which is not a flow; name one that is, or leave it out.",
    ),
    (lambda c: c["profiles"]["smoke"].update(model="half"), "profiles[...].model: "),
    (
        lambda c: flow(c, "player").update(name="profile"),
        "flows[1] (profile).name is used twice; give each flow a name of its own.",
    ),
    (lambda c: flow(c, "profile").update(weight="many"), "flows[0].weight: Expected float, got str."),
    (lambda c: flow(c, "profile").update(wieght=3), "flows[0]: unknown field wieght."),
    (lambda c: flow(c, "profile").pop("path"), "flows[0]: missing field path."),
    (lambda c: c.pop("think"), "missing field think."),
    (
        lambda c: flow(c, "profile").update(method="FETCH"),
        "flows[0] (profile).method is 'FETCH'; use one of GET, POST, PATCH, DELETE.",
    ),
    (
        lambda c: flow(c, "profile").update(write=True),
        "flows[0] (profile).write must be false for GET; only writes carry an operation id.",
    ),
    (
        lambda c: flow(c, "edit-profile").update(write=False),
        "flows[9] (edit-profile).write must be true for PATCH; only writes carry an operation id.",
    ),
    (lambda c: flow(c, "profile").update(body={}), "flows[0] (profile).body is given for a GET; leave it out."),
    (
        lambda c: flow(c, "profile").update(path="users/me"),
        "flows[0] (profile).path is 'users/me'; start it with a slash.",
    ),
    (
        lambda c: flow(c, "profile").update(path="/users/{mee}"),
        "flows[0] (profile).path: {mee} is not a known hole",
    ),
    (
        lambda c: flow(c, "challenge")["body"].update(stake="{5..1}"),
        "flows[12] (challenge).body: {5..1} is an empty range.",
    ),
    (
        lambda c: flow(c, "profile").update(path="/users/{taken}"),
        "flows[0] (profile) uses {taken} but takes nothing; name a bag in its field takes.",
    ),
    (
        lambda c: flow(c, "profile").update(expect=[404]),
        "flows[0] (profile).expect names no success; add the 2xx the service answers with.",
    ),
    (
        lambda c: flow(c, "profile").update(expect=[200, 500]),
        "flows[0] (profile).expect holds 500; only a 2xx or a 4xx can be an expected answer.",
    ),
    (
        lambda c: flow(c, "score").update(takes="trophies"),
        "flows[10] (score).takes is 'trophies', which nothing fills; use one of accepted, matches, received, "
        "tournaments, unread.",
    ),
    (
        lambda c: flow(c, "score").pop("otherwise"),
        "flows[10] (score).otherwise is missing; name the flow to play while the bag 'matches' is empty.",
    ),
    (
        lambda c: flow(c, "score").update(otherwise="nap"),
        "flows[10] (score).otherwise names 'nap', which is not a flow; name one that is.",
    ),
    (
        lambda c: flow(c, "score").update(otherwise="join"),
        "flows[10] (score).otherwise names 'join', which takes an id itself; name one that takes nothing.",
    ),
    (
        lambda c: flow(c, "profile").update(otherwise="unread"),
        "flows[0] (profile).otherwise needs takes; only a flow that takes an id can find its bag empty.",
    ),
    (
        lambda c: flow(c, "profile").update(keeps="unread"),
        "flows[0] (profile).keeps needs takes; name the bag the id comes from.",
    ),
    (
        lambda c: c.update(think={"min_s": 3, "max_s": 1}),
        "think.max_s (1) is below think.min_s (3); swap them.",
    ),
    (lambda c: c.update(think={"min_s": -1, "max_s": 1}), "think.min_s is -1; give 0 or more."),
    (
        lambda c: c.update(think={"min_s": 0, "max_s": 0}),
        "think.max_s is 0; users without a pause measure only the queue, so give seconds above 0.",
    ),
    (lambda c: c.update(timeout_s=0), "timeout_s is 0; give seconds above 0."),
    (lambda c: c.update(samples_min=0), "samples_min is 0; give 1 or more."),
    (lambda c: c["load"].update(users=0), "load.users is 0; give 1 or more."),
    (lambda c: c["load"].update(ramp_per_s=0), "load.ramp_per_s is 0; give users per second above 0."),
    (lambda c: c["load"].update(seconds=-1), "load.seconds is -1; give 0 (until stopped) or more."),
    (
        lambda c: c["levels"][0].update(percentile=100),
        "levels[0].percentile is 100; give a number between 0 and 100.",
    ),
    (lambda c: c["levels"][0].update(gate_ms=0, aim_ms=None), "levels[0].gate_ms is 0; give milliseconds above 0."),
    (
        lambda c: c["levels"][0].update(aim_ms=600),
        "levels[0].aim_ms is 600; give milliseconds above 0 and at most gate_ms.",
    ),
    (
        lambda c: c["levels"][0].update(flow="nap"),
        "levels[0].flow names 'nap', which is not a flow; name one that is, or leave it out.",
    ),
    (lambda c: c["levels"][1].update(gate_share=1), "levels[1].gate_share is 1; give a share from 0 to below 1."),
    (lambda c: c["levels"][1].update(measure="mood"), "levels[1].measure: Invalid value 'mood'."),
]


@pytest.mark.parametrize(("spoil", "sentence"), CASES, ids=[sentence[:48] for _, sentence in CASES])
def test_each_fault_gets_one_sentence(
    tmp_path: Path, scenario_text: dict[str, Any], spoil: Spoil, sentence: str
) -> None:
    """The file, the field, what it is, what to do."""
    said = read_spoilt(tmp_path, scenario_text, spoil)
    assert said.startswith(f"spoilt.json: {sentence}")
    assert "\n" not in said


def test_the_whole_file_is_checked_at_once(tmp_path: Path, scenario_text: dict[str, Any]) -> None:
    """Three faults are one refusal that counts them, not three attempts."""

    def spoil(content: dict[str, Any]) -> None:
        content["timeout_s"] = -1
        flow(content, "profile")["weight"] = -5
        content["levels"][1]["gate_share"] = 2

    assert read_spoilt(tmp_path, scenario_text, spoil).endswith("(The file has 2 more such faults.)")


def test_file_that_is_not_json(tmp_path: Path) -> None:
    """A TOML file by mistake."""
    path = tmp_path / "day.json"
    path.write_text("flows = []\n")
    with pytest.raises(ScenarioError, match=r"^day\.json is not JSON \("):
        scenario_file.read(path)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    """A typing error on the command line."""
    with pytest.raises(ScenarioError, match=r"nowhere\.json cannot be read \(No such file or directory\)"):
        scenario_file.read(tmp_path / "nowhere.json")


def test_shipped_scenario_is_found_beside_the_code() -> None:
    """So that an installed package has it too."""
    assert GYM_DAY.is_file()
