"""A run in a few lines: a table for a terminal, Markdown for a pipeline's job summary."""

from __future__ import annotations

import io
from collections.abc import Sequence

from ci.record import Run

MARKDOWN_LIMIT = 60_000
"""Characters; a pipeline drops a summary that is too large whole."""

WORD = {"pass": "pass", "fail": "FAIL", "unknown": "UNKNOWN"}


def table(run: Run) -> str:
    """The verdict and every criterion, for people at a terminal; plain text wherever it is printed."""
    failed = sum(one.gates and one.result == "fail" for one in run.criteria)
    headline = f"{WORD[run.verdict].upper()}  {run.drill}  {run.duration_s:.0f} s  seed {run.seed}  {run.id}"
    rows = [
        (one.id, one.title, one.goal, one.measured, WORD[one.result] + ("" if one.gates else " (not gating)"))
        for one in run.criteria
    ]
    reasons = [f"  {one.id}: {one.why}" for one in run.criteria if one.why]
    parts = [headline, _aligned(("id", "criterion", "goal", "measured", "result"), rows)]
    if run.rto is not None and run.rto.phases:
        phases = ", ".join(f"{phase.name} {phase.end_s - phase.begin_s:.2f} s" for phase in run.rto.phases)
        parts.append(f"RTO {run.rto.total_s:.2f} s: {phases}")
    if reasons:
        parts.append(f"{failed} failed. Why:" if failed else "Why:")
        parts += reasons
    return "\n".join(parts) + "\n"


def suite_table(runs: Sequence[Run]) -> str:
    """One row per run."""
    rows = [(WORD[run.verdict], run.drill, _rto(run), _lost(run), _p95(run), f"{run.duration_s:.0f} s") for run in runs]
    return _aligned(("verdict", "drill", "RTO", "lost of acknowledged", "p95", "took"), rows)


def markdown(run: Run) -> str:
    """The job summary of one run, under 64 kB whatever was lost."""
    lines = [f"## {WORD[run.verdict].upper()}: {run.drill}", "", run.title, ""]
    lines += ["| id | criterion | goal | measured | result | why |", "| --- | --- | --- | --- | --- | --- |"]
    for one in run.criteria:
        result = f"**{WORD[one.result]}**" if one.result != "pass" else "pass"
        cells = (one.id, one.title, one.goal, one.measured, result, one.why)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    if run.rto is not None and run.rto.phases:
        lines += ["", "| phase | seconds |", "| --- | --- |"]
        lines += [f"| {phase.name} | {phase.end_s - phase.begin_s:.2f} |" for phase in run.rto.phases]
    if run.rpo is not None and run.rpo.lost:
        listed = ", ".join(f"`{one.op}`" for one in run.rpo.lost_writes[:20])
        more = f" and {run.rpo.lost - 20} more" if run.rpo.lost > 20 else ""
        lines += ["", f"Lost: {listed}{more}."]
    lines += ["", f"Repeat: `{run.command}`", ""]
    return "\n".join(lines)[:MARKDOWN_LIMIT]


def suite_markdown(runs: Sequence[Run]) -> str:
    """The job summary of several runs: a row each, then each in full while there is room."""
    lines = ["# Reliability drills", "", "| verdict | drill | RTO | lost | p95 |", "| --- | --- | --- | --- | --- |"]
    for run in runs:
        lines.append(f"| {WORD[run.verdict]} | {run.drill} | {_rto(run)} | {_lost(run)} | {_p95(run)} |")
    text = "\n".join(lines) + "\n\n"
    for run in runs:
        more = markdown(run)
        if len(text) + len(more) > MARKDOWN_LIMIT:
            break
        text += more + "\n"
    return text


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    out = io.StringIO()
    for row in (header, ["-" * width for width in widths], *rows):
        out.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
    return out.getvalue().rstrip("\n")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _rto(run: Run) -> str:
    if run.rto is None:
        return "none needed"
    return "not recovered" if run.rto.total_s is None else f"{run.rto.total_s:.2f} s"


def _lost(run: Run) -> str:
    return "not known" if run.rpo is None else f"{run.rpo.lost} of {run.rpo.acked}"


def _p95(run: Run) -> str:
    base = run.baseline
    return "not measured" if base is None or base.p95_ms is None else f"{base.p95_ms:.1f} ms"
