"""A release under load: nobody notices the good one, and each bad one is found by the criteria that are about it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ci.drill import Order, Rehearsal
from ci.drills import OF_RELEASES, Database, Pace
from ci.record import Run
from ci.verdict import judge_run
from loadtests.scenario import GYM_DAY
from tests.e2e.test_sabotage import DATA, SABOTAGE, results

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PACE = Pace(users=100, ramp_per_s=50, settle_s=0.5, baseline_s=4, exposure_s=0, after_s=2)
DATABASES: tuple[Database, ...] = ("sqlite", "postgres")
NOTICED = ("LOAD-ERRORS", "LAT-P95", "LOAD-USERS", "RECOVERED")


def released(runs: Path, database: Database, bad: str | None = None) -> Run:
    drill = OF_RELEASES["migrate-under-load"]
    rehearsal = Rehearsal(Order(drill, PACE, seed=3, runs=runs, scenario=Path(GYM_DAY), database=database))
    if bad is not None:
        rehearsal.stand.tool = (sys.executable, str(SABOTAGE / "bad_revision.py"))
        rehearsal.stand.environment["BAD_REVISION"] = bad
    return judge_run(rehearsal.run())


@pytest.mark.parametrize("database", DATABASES)
def test_a_release_is_not_noticed(tmp_path: Path, database: Database) -> None:
    run = released(tmp_path, database)
    wanted = (*DATA, *NOTICED, "FAULT-BIT", "LEDGER", "READ-BACK")
    assert {name: results(run)[name] for name in wanted} == dict.fromkeys(wanted, "pass")
    assert run.findings.acked > 200
    seen = [mark.name for mark in run.marks]
    assert seen.index("baseline.begin") < seen.index("fault.bite") < seen.index("version.switched")
    assert (
        seen.index("version.ended")
        < seen.index("fault.begin", seen.index("version.ended"))
        < seen.index("baseline.end")
    )


@pytest.mark.parametrize("database", DATABASES)
def test_a_revision_that_holds_its_locks_is_noticed_by_users_and_loses_nothing(
    tmp_path: Path, database: Database
) -> None:
    run = released(tmp_path, database, "hold")
    assert (run.verdict, results(run)["LOAD-ERRORS"]) == ("fail", "fail")
    assert {name: results(run)[name] for name in ("DATA-LOST", "DATA-ALTERED")} == dict.fromkeys(
        ("DATA-LOST", "DATA-ALTERED"), "pass"
    )


@pytest.mark.parametrize("database", DATABASES)
def test_a_revision_that_takes_a_column_from_the_old_version_is_noticed(tmp_path: Path, database: Database) -> None:
    run = released(tmp_path, database, "drop")
    assert (run.verdict, results(run)["LOAD-ERRORS"]) == ("fail", "fail")
    assert results(run)["FAULT-BIT"] == "unknown", "the release did not get to its end"
