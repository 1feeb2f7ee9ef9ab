"""The schedule and the chance all tools share: the same numbers in Python and in k6, the mix that the weights ask for."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from loadtests import schedule
from loadtests.chance import below, generator
from loadtests.errors import PlanError
from loadtests.scenario import Scenario
from loadtests.schedule import Arrival, UserSteps, arrivals, instants, user_steps
from loadtests.shape import Shape, Stage
from loadtests.tools import K6, find_k6

RISE_STAY_FALL = Shape(
    "open",
    (Stage(seconds=2, target=5), Stage(seconds=2, target=5), Stage(seconds=2, target=0), Stage(seconds=0, target=9)),
)


def test_numbers_are_the_ones_of_k6(tmp_path: Path) -> None:
    """k6 runs the very function of k6.js; seeds of several lengths, and many numbers of each."""
    seeds = ["7-1", "20261123-1000", "-3-17", "20261123-schedule-arrivals"]
    (function,) = re.findall(r"^function generator\(.*?^}", K6.script.read_text(), re.MULTILINE | re.DOTALL)
    script = tmp_path / "numbers.js"
    script.write_text(
        f"{function}\nexport default function () {{\n"
        f"  const draws = {json.dumps(seeds)}.map((seed) => {{ const draw = generator(seed);\n"
        "    return Array.from({ length: 500 }, draw); });\n"
        "  console.log(JSON.stringify(draws));\n}\n"
    )
    output = tmp_path / "numbers.jsonl"
    command = [find_k6(), "run", "--quiet", "--no-usage-report", "--address", "", "--log-format", "raw"]
    subprocess.run([*command, "--console-output", output, script], check=True, capture_output=True, timeout=60)
    theirs = json.loads(output.read_text())
    ours = []
    for seed in seeds:
        draw = generator(seed)
        ours.append([draw() for _ in range(500)])
    assert ours == theirs
    assert len({number for numbers in ours for number in numbers}) > 1990


def test_below_stays_below() -> None:
    """Every value, and none beyond."""
    draw = generator("7-1")
    assert {below(draw, 3) for _ in range(200)} == {0, 1, 2}


def test_same_seed_same_schedule(gym_day: Scenario) -> None:
    """And another one for another seed; more users change nothing for those before them."""
    few, more = list(user_steps(gym_day, 7, 3, 60)), list(user_steps(gym_day, 7, 5, 60))
    assert few == more[:3]
    assert list(user_steps(gym_day, 8, 3, 60)) != few
    assert few[0].steps != few[1].steps


def test_steps_suffice_and_pauses_are_the_scenarios(gym_day: Scenario) -> None:
    """A minute of pauses between one and three seconds, with a margin; no user runs out."""
    for one in user_steps(gym_day, 7, 50, 60):
        pauses = [think_ms for _, think_ms in one.steps]
        assert sum(pauses) > 60_000
        assert min(pauses) >= 1000
        assert max(pauses) <= 3000


def test_flows_come_by_weight(gym_day: Scenario) -> None:
    """Forty thousand steps land close to what the weights say."""
    drawn = Counter(flow for one in user_steps(gym_day, 7, 700, 60) for flow, _ in one.steps)
    total, weight = sum(drawn.values()), sum(flow.weight for flow in gym_day.flows)
    for index, flow in enumerate(gym_day.flows):
        assert drawn[index] / total == pytest.approx(flow.weight / weight, rel=0.1, abs=0.001)


def test_without_a_password_nobody_logs_in(gym_day: Scenario) -> None:
    """Indices stay those of the file."""
    log_in = [flow.name for flow in gym_day.flows].index("log-in")
    assert log_in in {flow for one in user_steps(gym_day, 7, 50, 60) for flow, _ in one.steps}
    assert log_in not in {flow for one in user_steps(gym_day, 7, 50, 60, password=False) for flow, _ in one.steps}


def test_arrivals_are_where_the_area_says() -> None:
    """Five, ten and five of them while the rate rises, stays and falls; none in a jump at the end."""
    found = list(instants(RISE_STAY_FALL))
    assert len(found) == 20
    assert found[4] == pytest.approx(2.0)
    assert found[5:15] == pytest.approx([2.2, 2.4, 2.6, 2.8, 3.0, 3.2, 3.4, 3.6, 3.8, 4.0])
    assert found[-1] == pytest.approx(6.0, abs=1e-3)
    assert found == sorted(found)


def test_arrivals_have_flows(gym_day: Scenario) -> None:
    """In order, and with the seed's choice."""
    found = list(arrivals(gym_day, 7, RISE_STAY_FALL))
    assert [one.at_ms for one in found[4:7]] == [2000, 2200, 2400]
    assert found == list(arrivals(gym_day, 7, RISE_STAY_FALL))
    assert len({one.flow for one in found}) > 3


def test_what_is_written_is_the_agreed_format_and_read_back(tmp_path: Path) -> None:
    """Other tools read these lines."""
    path = tmp_path / "schedule.jsonl"
    schedule.write(path, iter([UserSteps(1, ((3, 1500), (0, 2000)))]))
    assert path.read_text() == '{"user":1,"steps":[[3,1500],[0,2000]]}\n'
    assert schedule.read_steps(path) == [UserSteps(1, ((3, 1500), (0, 2000)))]
    schedule.write(path, iter([Arrival(12, 3)]))
    assert path.read_text() == '{"at_ms":12,"flow":3}\n'
    assert schedule.read_arrivals(path) == [Arrival(12, 3)]


@pytest.mark.parametrize(
    ("text", "complaint"), [("", "is empty"), ('{"user":1}\n', "cannot be used"), (None, "cannot be")]
)
def test_schedule_that_is_none_is_refused(tmp_path: Path, text: str | None, complaint: str) -> None:
    """Nothing is played from it."""
    path = tmp_path / "schedule.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(PlanError, match=complaint):
        schedule.read_steps(path)


def test_shape_knows_where_it_is() -> None:
    """The stage under way, the area below, the ramp, the top."""
    assert RISE_STAY_FALL.stage_at(1.0) == (0, 5, 2)
    assert RISE_STAY_FALL.stage_at(5.0) == (5, 0, 2)
    assert RISE_STAY_FALL.stage_at(6.0) is None
    assert RISE_STAY_FALL.area(0, 6) == pytest.approx(20)
    assert RISE_STAY_FALL.area(1, 3) == pytest.approx(3.75 + 5)
    assert RISE_STAY_FALL.area(5, 99) == pytest.approx(1.25)
    assert (RISE_STAY_FALL.ramp_s, RISE_STAY_FALL.length_s, RISE_STAY_FALL.top) == (2, 6, 9)
