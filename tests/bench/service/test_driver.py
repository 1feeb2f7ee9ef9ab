"""The raw driver's statements are the service's: played again, they leave the same rows behind."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pysqlite3 import dbapi2 as sqlite

from loadtests import population, scenario_file
from loadtests.scenario import GYM_DAY
from loadtests.virtual_user import Script
from system.database import engine_for
from system.models import metadata
from system.seed import seed, write_population
from tests.bench.service import driver

STEPS = 2_500
"""So many that players come back, and are refused what they have already."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A populated database without a log, its population beside it."""
    place = tmp_path_factory.mktemp("driver")
    engine = engine_for(f"sqlite:///{place / 'gym.db'}", writer=True)
    metadata.create_all(engine)
    made = seed(
        engine, users_count=70, tournaments_count=5, matches_count=70, run="r", seed=1, now_ms=1_700_000_000_000_000
    )
    engine.dispose()
    write_population(made, place / "population.json")
    return place


def rows(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite.connect(str(path))) as raw:
        return {table: raw.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in metadata.tables}


def test_played_again_the_statements_leave_the_same_rows_behind(base: Path, tmp_path: Path) -> None:
    people = population.read(base / "population.json")
    recorded, replayed = tmp_path / "recorded.db", tmp_path / "replayed.db"
    for copy in (recorded, replayed):
        shutil.copyfile(base / "gym.db", copy)
    script = Script(scenario_file.read(GYM_DAY), people, seed=1, run="r", users=70)
    acts = driver.record(f"sqlite:///{recorded}", script, STEPS)
    found = driver.replay(f"sqlite:///{replayed}", acts)
    assert (found.acts, len(acts)) == (STEPS, STEPS)
    assert found.seconds > 0
    assert rows(replayed) == rows(recorded) != rows(base / "gym.db")
    assert all(act.told for act in acts)
    assert {act.applied for act in acts if act.write} == {True, False}


def test_a_statement_left_out_shows_in_the_rows(base: Path, tmp_path: Path) -> None:
    people = population.read(base / "population.json")
    recorded, replayed = tmp_path / "recorded.db", tmp_path / "replayed.db"
    for copy in (recorded, replayed):
        shutil.copyfile(base / "gym.db", copy)
    script = Script(scenario_file.read(GYM_DAY), people, seed=1, run="r", users=70)
    acts = driver.record(f"sqlite:///{recorded}", script, 100)
    last = max(place for place, act in enumerate(acts) if act.write and act.applied)
    driver.replay(f"sqlite:///{replayed}", [*acts[:last], *acts[last + 1 :]])
    assert rows(replayed) != rows(recorded)


def test_every_flow_of_the_scenario_is_known() -> None:
    flows = scenario_file.read(GYM_DAY).flows
    assert {flow.name for flow in flows if not flow.write} == set(driver._READS)
    assert {flow.name for flow in flows if flow.write} == set(driver._WRITES)
