"""A run in a few lines: every criterion is in it, and it stays small and whole whatever was lost."""

from __future__ import annotations

import io
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


def test_what_was_lost_is_in_the_table() -> None:
    said = "RPO 24.1 s: 2471 of 14187 acknowledged writes are lost, each named in run.json"
    assert said in summary.table(sample_run.failing()).splitlines()
    assert "\nRPO 0" not in summary.table(sample_run.crash())


def test_the_table_ends_with_how_to_repeat_it() -> None:
    assert summary.table(sample_run.crash()).endswith(f"repeat  {sample_run.crash().command}\n")


@EVERY
def test_the_table_is_plain_text_where_there_is_no_terminal(run: Run) -> None:
    text = summary.table(run)
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


class Screen(io.StringIO):
    """A terminal to print to."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_colours_unless_it_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Screen())
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert summary.table(sample_run.failing()).startswith("\x1b[1;31mFAIL")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in summary.table(sample_run.failing())
    assert "\x1b" not in summary.suite_table([sample_run.failing()])


def test_colours_change_no_word() -> None:
    for run in (sample_run.failing(), sample_run.unknown(), sample_run.hostile()):
        coloured = re.sub(r"\x1b\[[0-9;]*m", "", summary.table(run, colour=True, width=200))
        assert [line.rstrip() for line in coloured.splitlines()] == summary.table(run, width=200).splitlines()


def test_a_narrow_terminal_is_kept_to_and_every_id_and_result_stays_whole() -> None:
    run = sample_run.failing()
    text = summary.table(run, width=80)
    _, _, _, *body = text[: text.index("RTO 6.08 s")].splitlines()
    assert all(len(line) <= 80 for line in body)
    assert [line.split()[0] for line in body if line[0] != " "] == [one.id for one in run.criteria]
    assert sum("FAIL" in line for line in body) == 2
    assert "All users connected at once" not in text


def test_brackets_are_words_and_no_markup() -> None:
    odd = msgspec.structs.replace(
        sample_run.failing().criteria[0], measured="[bold]1[/bold] [/]", why=":warning: [red]"
    )
    text = summary.table(msgspec.structs.replace(sample_run.failing(), criteria=(odd,)))
    assert "[bold]1[/bold] [/]" in text
    assert ":warning: [red]" in text


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


def test_markup_stays_text_and_comparisons_stay_readable() -> None:
    run = sample_run.hostile()
    less = msgspec.structs.replace(run.criteria[0], goal="< 15 s", why=sample_run.HOSTILE)
    text = summary.markdown(msgspec.structs.replace(run, criteria=(less,)))
    assert "<script" not in text
    assert "| < 15 s |" in text
    assert "&lt;script>alert" in text


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


def test_a_suite_that_leaves_runs_out_says_how_many() -> None:
    text = summary.suite_markdown([sample_run.big()] * 100)
    shown = text.count("## FAIL: corrupt-database")
    assert 0 < shown < 100
    assert f"{100 - shown} more runs are told in full beside their records" in text


def test_more_runs_than_any_summary_holds_are_cut_at_a_line_and_counted() -> None:
    text = summary.suite_markdown([sample_run.crash()] * 3000)
    rows_shown = text.count("| pass | crash |")
    assert len(text.encode()) < LIMIT_BYTES
    assert f"{3000 - rows_shown} more lines are in the report." in text
    assert all(len(cells) == 5 for cells in rows(text) if cells[0] == "pass")


def test_an_empty_suite_is_a_heading_and_no_row() -> None:
    assert summary.suite_markdown([]).startswith("# Reliability drills\n")
