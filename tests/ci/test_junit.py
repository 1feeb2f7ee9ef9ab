"""JUnit files, read back with somebody else's reader."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from junitparser import Error, Failure, JUnitXml

from ci import junit
from ci.record import Criterion, Run
from tests.ci import sample_run


def judged(id: str, result: str, *, gates: bool = True, why: str = "") -> Criterion:
    return msgspec.convert(
        {
            "id": id,
            "title": f"Title of {id}",
            "goal": "0",
            "measured": "1",
            "result": result,
            "gates": gates,
            "why": why,
        },
        Criterion,
    )


ALL_SORTS = msgspec.structs.replace(
    sample_run.failing(),
    criteria=(
        judged("GOOD", "pass"),
        judged("BAD", "fail", why="10 were lost."),
        judged("DARK", "unknown", why="The ledger was cut short."),
        judged("CALM", "fail", gates=False, why="The machine was busy."),
        judged("FOG", "unknown", gates=False),
    ),
)


def read_back(path: Path, *runs: Run) -> JUnitXml:
    junit.write(runs, path / "junit.xml")
    return JUnitXml.fromfile(str(path / "junit.xml"))


def test_a_run_is_a_suite_and_a_criterion_is_a_case(tmp_path: Path) -> None:
    (suite,) = read_back(tmp_path, ALL_SORTS)
    assert (suite.name, suite.tests, suite.failures, suite.errors, suite.skipped) == ("corrupt-database", 5, 1, 1, 0)
    assert suite.time == pytest.approx(ALL_SORTS.duration_s)
    assert suite.timestamp == ALL_SORTS.began
    assert [case.name.split()[0] for case in suite] == ["GOOD", "BAD", "DARK", "CALM", "FOG"]
    assert {case.classname for case in suite} == {"gymkhana.corrupt-database"}


def test_a_failure_is_a_failure_and_an_unknown_is_an_error(tmp_path: Path) -> None:
    (suite,) = read_back(tmp_path, ALL_SORTS)
    good, bad, dark, calm, fog = suite
    assert [type(one) for one in bad.result] == [Failure]
    assert (bad.result[0].type, bad.result[0].message) == ("BAD", "goal 0, measured 1. 10 were lost.")
    assert [type(one) for one in dark.result] == [Error]
    assert (dark.result[0].type, dark.result[0].message) == ("DARK", "goal 0, measured 1. The ledger was cut short.")
    assert good.result == calm.result == fog.result == []


def test_what_does_not_gate_is_told_all_the_same(tmp_path: Path) -> None:
    (suite,) = read_back(tmp_path, ALL_SORTS)
    calm = list(suite)[3]
    assert calm.system_out == "goal 0, measured 1. The machine was busy."


def test_a_suite_says_which_run_it_is_and_how_to_repeat_it(tmp_path: Path) -> None:
    run = sample_run.failing()
    (suite,) = read_back(tmp_path, run)
    assert {one.name: one.value for one in suite.properties()} == {
        "id": run.id,
        "verdict": "fail",
        "seed": "7",
        "command": run.command,
    }


def test_several_runs_are_as_many_suites(tmp_path: Path) -> None:
    runs = (sample_run.passing(), sample_run.crash(), sample_run.empty())
    whole = read_back(tmp_path, *runs)
    assert [suite.name for suite in whole] == ["corrupt-database", "crash", "crash"]
    assert [suite.failures + suite.errors for suite in whole] == [0, 0, 1]
    assert (whole.tests, whole.failures, whole.errors) == (len(runs[0].criteria) + len(runs[1].criteria) + 1, 0, 1)


@pytest.mark.parametrize("criteria", [(), (judged("CALM", "pass", gates=False),)], ids=["none", "none that gates"])
def test_a_run_in_which_nothing_was_judged_is_an_error_and_not_green(
    criteria: tuple[Criterion, ...], tmp_path: Path
) -> None:
    (suite,) = read_back(tmp_path, msgspec.structs.replace(sample_run.empty(), criteria=criteria))
    assert (suite.tests, suite.failures, suite.errors) == (len(criteria) + 1, 0, 1)
    (error,) = list(suite)[-1].result
    assert isinstance(error, Error)
    assert error.message == "goal at least one gate, measured none. The run holds no criterion that gates."


def test_writing_leaves_nothing_but_the_file(tmp_path: Path) -> None:
    read_back(tmp_path, ALL_SORTS)
    assert [one.name for one in tmp_path.iterdir()] == ["junit.xml"]


def test_text_that_tries_to_be_markup_stays_text(tmp_path: Path) -> None:
    run = sample_run.hostile()
    (suite,) = read_back(tmp_path, run)
    assert sample_run.HOSTILE in {one.value for one in suite.properties()}
    assert all(sample_run.HOSTILE in case.name for case in suite)


def test_characters_that_xml_cannot_hold_do_not_spoil_the_file(tmp_path: Path) -> None:
    """A fault's text may quote what a broken database file holds."""
    bad = judged("BAD", "fail", why="row \x00\x1b[31m \ud800 is malformed")
    (suite,) = read_back(tmp_path, msgspec.structs.replace(ALL_SORTS, criteria=(bad,), command="a\x07b"))
    (case,) = suite
    assert case.result[0].message.startswith("goal 0, measured 1. row ")
    assert case.result[0].message.endswith(" is malformed")
