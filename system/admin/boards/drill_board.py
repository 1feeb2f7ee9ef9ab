"""The Drills board: how the last runs went, how recovery and loss have moved, and the way to each run's own report."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from system import drill_runs
from system.admin.boards.asked import Filter, Question
from system.admin.boards.board import Board, Look, Part
from system.admin.boards.panels import Cell, Column, Figure, Figures, Mark, Panel, Table
from system.admin.boards.trend import Trend, trend
from system.drill_runs import Drilled
from system.settings import Settings

DRILLS: Final = "/admin/drills"
MOST: Final = 50
_MARKS: Final[Mapping[str, Mark]] = {"pass": "on", "fail": "off", "unknown": "wait"}
_COLUMNS: Final = (
    Column("Drill", "name"), Column("Begun", "when"), Column("Verdict"), Column("RTO", "number"), Column("RPO", "number"),
    Column("Lost of acknowledged", "number"), Column("Not kept"), Column("Took", "number"), Column("Report"),
)  # fmt: skip


async def drills(look: Look) -> Sequence[Panel]:
    """The whole board."""
    return panels(await _runs(look.service.config, look.question))


async def drawing(config: Settings, asked: Question) -> Mapping[str, Any]:
    """How the figures have moved over these runs."""
    runs = await _runs(config, asked)
    return {"trends": [one for one in (_recovery(runs), _loss(runs)) if one is not None]}


async def _runs(config: Settings, asked: Question) -> Sequence[Drilled]:
    """The last runs, newest first; those of one drill when it was asked for."""
    wanted = asked.filter("drill")
    found = await asyncio.to_thread(drill_runs.newest, config.runs_dir, MOST)
    return [run for run in found if wanted in (None, run.drill)]


def panels(runs: Sequence[Drilled]) -> Sequence[Panel]:
    """The board of these runs, newest first. Pure."""
    verdicts = [run.verdict for run in runs]
    figures = [
        Figure(word.capitalize(), str(verdicts.count(word)), mark=mark if verdicts.count(word) else "")
        for word, mark in _MARKS.items()
    ]
    note = f"The last {MOST} runs at most."
    empty = "No run is there yet: gymkhana drill run leaves one, and GYM_RUNS_DIR says where."
    return [
        Figures("verdicts", "Verdicts", figures, note),
        Table("runs", "Runs", _COLUMNS, [_row(run) for run in runs], empty),
    ]


def _row(run: Drilled) -> Sequence[Cell]:
    return [
        Cell(run.drill),
        Cell(run.began[:19].replace("T", " ")),
        Cell(run.verdict, _MARKS.get(run.verdict, "")),
        Cell("none needed" if run.rto is None else _seconds(run.rto.total_s, 2)),
        Cell(_seconds(run.rpo.seconds if run.rpo else None, 1)),
        Cell(f"{run.rpo.lost} of {run.rpo.acked}" if run.rpo else "not measured"),
        Cell(", ".join(run.broken)),
        Cell(_seconds(run.duration_s, 0)),
        Cell("report", href=f"{DRILLS}/{run.id}/report"),
    ]


def _seconds(value: float | None, digits: int) -> str:
    return "not measured" if value is None else f"{value:.{digits}f} s"


def _recovery(runs: Sequence[Drilled]) -> Trend | None:
    points = [(run, run.rto.total_s if run.rto else None) for run in reversed(runs)]
    return trend("RTO", "time to recover, in seconds", points)


def _loss(runs: Sequence[Drilled]) -> Trend | None:
    points = [(run, run.rpo.seconds if run.rpo else None) for run in reversed(runs)]
    return trend("RPO", "span of what was lost, in seconds", points)


BOARD = Board(
    "Drills",
    DRILLS,
    "How the last drills went, how recovery and loss have moved, and each run's report.",
    (Part("the runs", drills),),
    filters=(Filter("drill", "Drill"),),
    timed=False,
    template="drills.html",
    drawing=drawing,
)
