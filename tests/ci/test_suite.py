"""Which drills are meant, where a run is kept, and the one exit code for all of them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ci import suite
from ci.cluster import ARCHIVE_TIMEOUT_S
from ci.drills import DRILLS, OF_BACKUPS, OF_PGBACKREST, OF_RELEASES, ON_POSTGRES, full_pace, quick_pace
from ci.goals import GOALS
from ci.record import Result, Run
from ci.suite import Suite, UnknownDrill
from tests.ci import sample_run


def judged(*verdicts: Result) -> list[Run]:
    return [msgspec.structs.replace(sample_run.empty(), verdict=verdict) for verdict in verdicts]


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((), 3),
        (("pass",), 0),
        (("fail",), 1),
        (("unknown",), 3),
        (("pass", "pass"), 0),
        (("pass", "unknown"), 3),
        (("unknown", "pass"), 3),
        (("unknown", "fail"), 1),
        (("fail", "pass"), 1),
        (("pass", "fail", "unknown"), 1),
    ],
)
def test_the_exit_code_is_the_worst_of_the_verdicts(verdicts: tuple[Result, ...], code: int) -> None:
    assert suite.exit_code(judged(*verdicts)) == code


def test_drills_are_chosen_by_name_in_the_order_given() -> None:
    assert [drill.name for drill in suite.chosen(["lost-database", "crash"])] == ["lost-database", "crash"]


def test_all_is_every_drill() -> None:
    assert suite.chosen(["all"]) == list(DRILLS.values())
    assert suite.chosen(["backups", "crash"]) == [*OF_BACKUPS.values(), DRILLS["crash"]]


def test_what_pgbackrest_rehearses_is_in_a_group_of_its_own() -> None:
    """Whoever runs `all` needs no pgBackRest."""
    assert suite.chosen(["pgbackrest"], "postgres") == list(OF_PGBACKREST.values())
    assert not any(drill.protection.pgbackrest for drill in suite.chosen(["all"], "postgres"))
    with pytest.raises(UnknownDrill, match="does not run on sqlite"):
        suite.chosen(["lost-data-directory-pgbackrest"], "sqlite")


def test_no_goal_promises_that_less_is_lost_than_what_is_not_archived_yet() -> None:
    """A segment that is not full is archived when it is as old as that, and is lost with the disk until then."""
    for name in OF_PGBACKREST:
        loss_s = GOALS[name].loss_s
        assert loss_s is not None
        assert loss_s > ARCHIVE_TIMEOUT_S


def test_an_unknown_drill_names_the_nearest_one() -> None:
    with pytest.raises(UnknownDrill, match=r"There is no drill crush; did you mean crash\?") as caught:
        suite.chosen(["all", "crush"])
    assert caught.value.exit_code == 2


def test_an_unknown_drill_like_no_other_names_them_all() -> None:
    every = [*DRILLS, *OF_BACKUPS, *OF_RELEASES]
    with pytest.raises(UnknownDrill, match=f"there are {', '.join(every)}; and all and backups and releases"):
        suite.chosen(["zzz"])


def test_each_database_has_drills_of_its_own() -> None:
    assert suite.chosen(["all"], "postgres") == list(ON_POSTGRES.values())
    assert suite.chosen(["releases"]) == suite.chosen(["releases"], "postgres") == list(OF_RELEASES.values())
    with pytest.raises(UnknownDrill, match="The drill lost-host does not run on postgres; there are crash, "):
        suite.chosen(["lost-host"], "postgres")


def run_in(runs: Path, name: str) -> Path:
    directory = runs / name
    directory.mkdir(parents=True)
    (directory / "settings.json").write_text("{}")
    return directory


def test_a_run_is_found_by_its_id_and_by_its_path(tmp_path: Path) -> None:
    directory = run_in(tmp_path / "runs", "20261123T091403Z-crash-1c21")
    assert suite.find_run(directory.name, tmp_path / "runs") == directory
    assert suite.find_run(str(directory), tmp_path / "elsewhere") == directory


def test_the_latest_run_is_found_by_that_name(tmp_path: Path) -> None:
    directory = run_in(tmp_path, "20261123T091403Z-crash-1c21")
    (tmp_path / "latest").symlink_to(directory.name)
    assert suite.find_run("latest", tmp_path).resolve() == directory


def test_an_unknown_run_names_the_nearest_one(tmp_path: Path) -> None:
    directory = run_in(tmp_path, "20261123T091403Z-crash-1c21")
    with pytest.raises(UnknownDrill, match=rf"did you mean {directory.name}\?") as caught:
        suite.find_run("20261123T091403Z-crash-1c22", tmp_path)
    assert caught.value.exit_code == 2


def test_an_unknown_run_where_there_are_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnknownDrill, match=f"There is no run crash under {tmp_path / 'none'}[.]"):
        suite.find_run("crash", tmp_path / "none")


def test_a_directory_without_raw_files_is_no_run_and_is_not_suggested(tmp_path: Path) -> None:
    """A suite's directory holds pages, and `latest` may point at one."""
    (tmp_path / "suite-1").mkdir()
    (tmp_path / "latest").symlink_to("suite-1")
    with pytest.raises(UnknownDrill, match=f"There is no run latest under {tmp_path}[.]"):
        suite.find_run("latest", tmp_path)


def test_a_plan_tells_every_drill_and_touches_nothing(tmp_path: Path) -> None:
    planned = Suite(list(DRILLS.values()), full_pace(1000), 7, tmp_path / "runs", tmp_path / "scenario.json", "locust")
    said = planned.plan()
    assert all(f"  {name}: " in said for name in DRILLS)
    assert "1000 users each, seed 7" in said
    assert list(tmp_path.iterdir()) == []


def test_a_quick_drill_is_expected_to_be_the_shorter_one(tmp_path: Path) -> None:
    drills = list(DRILLS.values())
    quick = Suite(drills, quick_pace(100), 7, tmp_path, tmp_path / "scenario.json", "locust")
    full = Suite(drills, full_pace(100), 7, tmp_path, tmp_path / "scenario.json", "locust")
    assert all(quick.expected_s(drill) < full.expected_s(drill) for drill in drills)
