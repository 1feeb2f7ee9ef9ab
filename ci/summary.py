"""A run in a few lines: a table for a terminal, Markdown for a pipeline's job summary."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
from collections.abc import Sequence

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ci.record import Criterion, Run

MARKDOWN_LIMIT = 60_000
"""Bytes; a pipeline drops a summary that is too large whole."""
CELL_LIMIT = 400
"""Characters of a cell in Markdown; the whole text is in the report."""
LISTED_MAX = 20
PLAIN_WIDTH = 500
"""Columns where nobody's screen is: wide enough that no cell wraps, so that a line can be searched for."""
ROOMY_WIDTH = 140
"""From here on a terminal shows what each criterion is about; below, its id says it."""

WORD = {"pass": "pass", "fail": "FAIL", "unknown": "UNKNOWN"}
STYLE = {"pass": "green", "fail": "bold red", "unknown": "bold yellow"}
Part = str | Text | Table
RULED = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def table(run: Run, *, colour: bool | None = None, width: int | None = None) -> str:
    """The verdict and every criterion, for people: coloured and as wide as the terminal, or else plain, a line each.

    `colour` and `width` in columns override what standard output is; NO_COLOR takes the colours away.
    """
    width = _width() if width is None else width
    roomy = width >= ROOMY_WIDTH
    header = ["id", *(["criterion"] if roomy else []), "goal", "measured", "result"]
    rows: list[list[str | Text]] = [
        [one.id, *([one.title] if roomy else []), one.goal, one.measured, _result(one)] for one in run.criteria
    ]
    failed = sum(one.gates and one.result == "fail" for one in run.criteria)
    reasons = [f"  {one.id}: {one.why}" for one in run.criteria if one.why]
    headline = Text(f"{run.verdict.upper()}  ", STYLE[run.verdict])
    headline.append(f"{run.drill}  {run.duration_s:.0f} s  seed {run.seed}  {run.id}", "not bold default")
    parts: list[Part] = [headline, _ruled(header, rows), *_recovery(run), *_loss(run)]
    if reasons:
        parts += [f"{failed} failed. Why:" if failed else "Why:", *reasons]
    return _printed([*parts, f"repeat  {run.command}"], colour, width)


def suite_table(runs: Sequence[Run], *, colour: bool | None = None, width: int | None = None) -> str:
    """One row per run."""
    header = ("verdict", "drill", "RTO", "lost of acknowledged", "p95", "took")
    rows = [
        (
            Text(WORD[run.verdict], STYLE[run.verdict]),
            run.drill,
            _rto(run),
            _lost(run),
            _p95(run),
            f"{run.duration_s:.0f} s",
        )
        for run in runs
    ]
    return _printed([_ruled(header, rows)], colour, _width() if width is None else width)


def markdown(run: Run) -> str:
    """The job summary of one run, under 64 kB whatever was lost."""
    lines = [f"## {WORD[run.verdict].upper()}: {run.drill}", "", _cell(run.title), ""]
    lines += ["| id | criterion | goal | measured | result | why |", "| --- | --- | --- | --- | --- | --- |"]
    for one in run.criteria:
        result = f"**{WORD[one.result]}**" if one.result != "pass" else "pass"
        cells = (one.id, one.title, one.goal, one.measured, result, one.why)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    if run.rto is not None and run.rto.phases:
        lines += ["", "| phase | seconds |", "| --- | --- |"]
        lines += [f"| {_cell(phase.name)} | {phase.end_s - phase.begin_s:.2f} |" for phase in run.rto.phases]
    if run.rpo is not None and run.rpo.lost:
        listed = ", ".join(f"`{_cell(one.op)}`" for one in run.rpo.lost_writes[:LISTED_MAX])
        lines += ["", *_loss(run), "", f"Lost: {listed}{_more(run.rpo.lost, LISTED_MAX)}."]
    return _fitted(lines, ["", f"Repeat: `{_cell(run.command)}`", ""])


def suite_markdown(runs: Sequence[Run]) -> str:
    """The job summary of several runs, under 64 kB: a row each, then each in full while there is room."""
    lines = ["# Reliability drills", "", "| verdict | drill | RTO | lost | p95 |", "| --- | --- | --- | --- | --- |"]
    for run in runs:
        lines.append(f"| {WORD[run.verdict]} | {_cell(run.drill)} | {_rto(run)} | {_lost(run)} | {_p95(run)} |")
    text = _fitted(lines, ["", ""])
    for shown, run in enumerate(runs):
        more = markdown(run)
        if len((text + more).encode()) > MARKDOWN_LIMIT:
            return text + f"{len(runs) - shown} more runs are told in full beside their records, in `summary.md`.\n"
        text += more + "\n"
    return text


def _result(one: Criterion) -> Text:
    return Text(WORD[one.result] + ("" if one.gates else " (not gating)"), STYLE[one.result] if one.gates else "dim")


def _recovery(run: Run) -> list[str]:
    if run.rto is None or run.rto.total_s is None or not run.rto.phases:
        return []
    phases = ", ".join(f"{phase.name} {phase.end_s - phase.begin_s:.2f} s" for phase in run.rto.phases)
    return [f"RTO {run.rto.total_s:.2f} s: {phases}"]


def _loss(run: Run) -> list[str]:
    if run.rpo is None or not run.rpo.lost:
        return []
    seconds = "of unknown span" if run.rpo.seconds is None else f"{run.rpo.seconds:.1f} s"
    return [f"RPO {seconds}: {run.rpo.lost} of {run.rpo.acked} acknowledged writes are lost, each named in run.json"]


def _ruled(header: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Table:
    ruled = Table(*header, box=RULED, show_edge=False, padding=(0, 1, 0, 0), header_style="none")
    for row in rows:
        ruled.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    for column in (ruled.columns[0], ruled.columns[-1]):
        column.no_wrap = True
    return ruled


def _printed(parts: Sequence[Part], colour: bool | None, width: int) -> str:
    colour = _on_screen() and not os.environ.get("NO_COLOR") if colour is None else colour
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=colour, color_system="standard" if colour else None,
                      legacy_windows=False, highlight=False)  # fmt: skip
    for part in parts:
        console.print(Text(part) if isinstance(part, str) else part, soft_wrap=not isinstance(part, Table))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _width() -> int:
    return shutil.get_terminal_size().columns if _on_screen() else PLAIN_WIDTH


def _on_screen() -> bool:
    return sys.stdout.isatty()


def _fitted(lines: Sequence[str], last: Sequence[str]) -> str:
    """All the lines, or as many as fit and a word about the rest; then the last ones."""
    end = "\n".join(last)
    room = MARKDOWN_LIMIT - len(end.encode()) - 100
    for kept, line in enumerate(lines):
        room -= len(line.encode()) + 1
        if room < 0:
            return "\n".join([*lines[:kept], "", f"{len(lines) - kept} more lines are in the report.", end])
    return "\n".join([*lines, end])


def _cell(text: str) -> str:
    """As text in a Markdown table: one line, no markup of tables or of HTML, and not without end."""
    cut = text if len(text) <= CELL_LIMIT else text[: CELL_LIMIT - 2].rstrip() + " …"
    return re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", " ".join(cut.splitlines())).replace("|", "\\|")


def _more(count: int, shown: int) -> str:
    return f" and {count - shown} more" if count > shown else ""


def _rto(run: Run) -> str:
    if run.rto is None:
        return "none needed"
    return "not recovered" if run.rto.total_s is None else f"{run.rto.total_s:.2f} s"


def _lost(run: Run) -> str:
    return "not known" if run.rpo is None else f"{run.rpo.lost} of {run.rpo.acked}"


def _p95(run: Run) -> str:
    base = run.baseline
    return "not measured" if base is None or base.p95_ms is None else f"{base.p95_ms:.1f} ms"
