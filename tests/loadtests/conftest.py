"""What the load tests' tests share: a stub service in a process of its own, a quick scenario, a population, plans."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests import population, scenario_file
from loadtests.errors import ToolError
from loadtests.jmeter_home import find_java, find_jmeter
from loadtests.plan import LoadPlan
from loadtests.population import Match, Player, Population, Tournament
from loadtests.scenario import GYM_DAY, Scenario
from loadtests.tools import TOOLS, LoadTool
from tests.loadtests.stub import Stub


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    service = Stub(tmp_path / "applied")
    yield service
    service.kill()


@pytest.fixture(scope="session")
def gym_day() -> Scenario:
    return scenario_file.read(GYM_DAY)


@pytest.fixture
def scenario_text() -> dict[str, Any]:
    """The shipped scenario as plain JSON, for tests that spoil it."""
    content: dict[str, Any] = json.loads(GYM_DAY.read_text())
    return content


@pytest.fixture
def people() -> Population:
    return Population(
        run="seed",
        users=tuple(Player(id_, f"u{id_:04d}", f"token-{id_}") for id_ in range(1, 25)),
        tournaments=tuple(Tournament(id_, organiser=1, open=id_ != 104) for id_ in range(101, 105)),
        matches=tuple(Match(500 + pair, 2 * pair - 1, 2 * pair, 101) for pair in range(1, 13)),
        password="correct horse battery",
    )


PlanMaker = Callable[..., LoadPlan]


@pytest.fixture
def quick_plan(tmp_path: Path, scenario_text: dict[str, Any], people: Population) -> PlanMaker:
    """Makes plans of 12 impatient users, who arrive at once and pause for a tenth of a second."""
    scenario_text |= {"think": {"min_s": 0.05, "max_s": 0.15}, "timeout_s": 1, "samples_min": 20}
    quick = tmp_path / "quick.json"
    quick.write_text(json.dumps(scenario_text))
    population.write(people, tmp_path / "population.json")

    def make(url: str, **changes: Any) -> LoadPlan:
        plan: dict[str, Any] = {
            "url": url,
            "users": 12,
            "ramp_per_s": 40.0,
            "seconds": 0.0,
            "run": "R",
            "seed": 7,
            "scenario": quick,
            "population": tmp_path / "population.json",
            "directory": tmp_path / "run",
        }
        return LoadPlan(**plan | changes)

    return make


@pytest.fixture
def jmeter() -> LoadTool:
    """JMeter, where a Java and its jars are."""
    try:
        find_java(), find_jmeter()
    except ToolError as error:
        pytest.skip(str(error))
    return TOOLS["jmeter"]


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition, and fails the test when it does not come true in time."""

    def wait(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "the condition never came true"
            time.sleep(0.02)

    return wait
