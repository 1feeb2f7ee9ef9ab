"""A run in a few lines: every criterion is in it, and it stays small and whole whatever was lost."""

from __future__ import annotations

import re

import msgspec
import pytest

from ci import summary
from ci.record import Criterion, LostWrite, Run
from tests.ci import sample_run

EVERY = pytest.mark.parametrize(
    "run",
    [sample_run.passing(), sample_run.failing(), sample_run.unknown(), sample_run.crash(), sample_run.empty()],
    ids=["passing", "failing", "unknown", "crash", "empty"],
)
LIMIT_BYTES = 64 * 1024


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the Markdown tables, an escaped pipe being text."""
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]


@EVERY
def test_the_table_names_every_criterion_and_its_result(run: Run) -> None:
    rows_begin = 3
    for one, line in zip(run.criteria, summary.table(run).splitlines()[rows_begin:], strict=False):
        assert line.split()[0] == one.id
        result = summary.WORD[one.result] + ("" if one.gates else " (not gating)")
        assert line.endswith(result)
        assert one.measured in line


@EVERY
def test_the_table_opens_with_the_verdict(run: Run) -> None:
    assert summary.table(run).startswith(f"{run.verdict.upper()}  {run.drill}  ")


def test_the_table_says_why_of_everything_that_did_not_pass() -> None:
    run = sample_run.failing()
    text = summary.table(run)
    assert "2 failed. Why:" in text
    assert all(f"  {one.id}: {one.why}" in text for one in run.criteria if one.result != "pass")


def test_the_phases_of_the_recovery_are_in_the_table() -> None:
    assert "RTO 1.42 s: detect 0.11 s, serve 1.31 s" in summary.table(sample_run.crash())


def test_the_table_is_plain_text() -> None:
    assert "\x1b" not in summary.table(sample_run.failing())


@EVERY
def test_markdown_names_every_criterion_and_its_result(run: Run) -> None:
    judged = {cells[0]: cells for cells in rows(summary.markdown(run)) if len(cells) == 6}
    for one in run.criteria:
        assert judged[one.id][4].strip("*") == summary.WORD[one.result]
    heading_and_rule = 2
    assert len(judged) == len(run.criteria) + heading_and_rule


def test_pipes_and_line_ends_stay_inside_their_cell() -> None:
    odd = msgspec.convert(
        {"id": "ODD", "title": "a|b", "goal": "x || y", "measured": "1", "result": "fail", "why": "one\ntwo | three"},
        Criterion,
    )
    text = summary.markdown(msgspec.structs.replace(sample_run.failing(), criteria=(odd,)))
    assert "| ODD | a\\|b | x \\|\\| y | 1 | **FAIL** | one two \\| three |" in text.splitlines()
    assert all(len(cells) in (2, 6) for cells in rows(text))


def test_five_thousand_lost_writes_are_counted_and_a_few_of_them_named() -> None:
    text = summary.markdown(sample_run.big())
    assert len(text.encode()) < LIMIT_BYTES
    assert " and 4980 more." in text
    assert len(re.findall(r"`[^`]+`", text)) == 20 + 1
    assert text.endswith(f"Repeat: `{sample_run.big().command}`\n")


def test_twenty_lost_writes_are_all_named() -> None:
    run = sample_run.failing()
    lost = tuple(LostWrite(op=f"R.{n}", flow="score", acked_s=float(n)) for n in range(20))
    assert run.rpo is not None
    text = summary.markdown(
        msgspec.structs.replace(run, rpo=msgspec.structs.replace(run.rpo, lost=20, lost_writes=lost))
    )
    assert "Lost: `R.0`, `R.1`," in text
    assert "`R.19`." in text


def test_a_reason_beyond_all_measure_does_not_burst_the_summary() -> None:
    """A pipeline drops a summary that is too large, whole: counted in bytes, whatever the script."""
    run = sample_run.failing()
    endless = tuple(msgspec.structs.replace(one, why="verloren → " * 2000) for one in run.criteria)
    text = summary.markdown(msgspec.structs.replace(run, criteria=endless))
    assert len(text.encode()) < LIMIT_BYTES
    assert text.startswith("## FAIL: corrupt-database\n")


def test_a_suite_has_a_row_for_every_run() -> None:
    runs = [sample_run.passing(), sample_run.failing(), sample_run.unknown(), sample_run.crash(), sample_run.empty()]
    lines = summary.suite_table(runs).splitlines()[2:]
    assert [line.split()[0] for line in lines] == ["pass", "FAIL", "UNKNOWN", "pass", "UNKNOWN"]
    assert "2471 of 14187" in lines[1]
    assert "not recovered" in lines[2]
    assert "not known" in lines[2]
    assert "1.42 s" in lines[3]
    assert "none needed" in lines[4]
    assert "not measured" in lines[4]


def test_a_suite_of_one_hundred_runs_still_fits_and_lists_them_all() -> None:
    text = summary.suite_markdown([sample_run.big()] * 100)
    assert len(text.encode()) < LIMIT_BYTES
    assert text.count("| FAIL | corrupt-database |") == 100
    assert "## FAIL: corrupt-database" in text


def test_an_empty_suite_is_a_heading_and_no_row() -> None:
    assert summary.suite_markdown([]).startswith("# Reliability drills\n")
