"""The Backups board: what can be restored to, how old and how proven the newest backup is, and when the next one is due.

Drawn from what was left in the status directory, so it shows while the database, and the stores, are gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from system import backup_report
from system.admin.boards.asked import Question
from system.admin.boards.board import Board, Look, Part
from system.admin.boards.course import course, proven
from system.admin.boards.panels import Cell, Column, Figure, Figures, Mark, Panel, Table, instant, number
from system.alerts.durations import words
from system.backup_report import REHEARSED, VERIFIED, Backup, Report, ReportUnreadable
from system.settings import Settings

LATE_S: Final = 300.0
"""A schedule says how it is twice a minute; when it said nothing for so long, nobody knows how it is now."""
LISTED: Final = 100
_MARKS: Final[Mapping[str, Mark]] = {"suspect": "off", "complete": "plain", "verified": "on", "rehearsed": "on"}
_MIB: Final = 2**20

_POINTS: Final = (Column("From", "when"), Column("To", "when"), Column("What"))
_CHAIN: Final = (Column("Backup", "name"), Column("Kind"), Column("State"), Column("Taken", "when"))
_STORES: Final = (Column("Store", "name"), Column("How it is"))
_BACKUPS: Final = (
    Column("Backup", "name"), Column("Taken", "when"), Column("Proven"), Column("To level", "number"),
    Column("Database", "number"), Column("Stored", "number"), Column("Wrong with it"),
)  # fmt: skip


async def backups(look: Look) -> Sequence[Panel]:
    """The whole board."""
    return panels(*await asyncio.to_thread(left, look.service.config.status_dir), look.now_ms / 1000)


async def drawing(config: Settings, _asked: Question) -> Mapping[str, Any]:
    """The course of what can be restored to."""
    report, _ = await asyncio.to_thread(left, config.status_dir)
    return {"course": None if report is None else course(report, report.at)}


def left(place: Path | None) -> tuple[Report | None, str]:
    """What was left there, or why there is nothing."""
    if place is None:
        return None, "GYM_STATUS_DIR names no directory, so nobody can leave word of the backups for this service."
    try:
        report = backup_report.read(place)
    except ReportUnreadable as error:
        return None, str(error)
    return (
        report,
        ""
        if report
        else f"Nothing was left in {place}: gymkhana schedule, or backup status, with --status-dir leaves it there.",
    )


def panels(report: Report | None, trouble: str, now_s: float) -> Sequence[Panel]:
    """The board of such a report. Pure."""
    if report is None:
        return [Figures("backups", "Backups", [], trouble)]
    lasted = words(now_s - report.at)
    late = f"This is how the backups were {lasted} ago; nobody has said anything since." if _late(report, now_s) else ""
    said = " ".join(filter(None, (late, *report.alarms))) or f"Told {lasted} ago: nothing is wrong."
    listed = tuple(reversed(report.backups))[:LISTED]
    return [
        Figures("backups", "Backups", figures(report, now_s), said),
        Table("points", "What can be restored to", _POINTS, _points(report), "Nothing."),
        Table(
            "chain",
            "The chain of the newest",
            _CHAIN,
            [_link(one) for one in report.chain()],
            "No good backup, no chain.",
        ),
        Table("stores", "Stores", _STORES, _stores(report), "None is named."),
        Table("listed", "Every backup", _BACKUPS, [_backup(one) for one in listed], "There is none."),
    ]


def figures(report: Report, now_s: float) -> list[Figure]:
    """How old the newest backup is, and the newest that was proven; and when the next one is due."""

    def age(label: str, one: Backup | None) -> Figure:
        return (
            Figure(label, "none", mark="off")
            if one is None
            else Figure(label, f"{words(now_s - one.taken)} old", one.id)
        )

    due = "not planned" if report.due is None else "now" if report.due <= now_s else f"in {words(report.due - now_s)}"
    return [
        age("Newest", report.newest()),
        age("Newest verified", report.newest(VERIFIED)),
        age("Newest rehearsed", report.newest(REHEARSED)),
        Figure("Next due", due, report.why_due),
        Figure("Suspect", str(sum(bool(one.fault) for one in report.backups))),
        Figure("Stores away", str(len(report.away)), mark="off" if report.away else ""),
    ]


def _late(report: Report, now_s: float) -> bool:
    return now_s - report.at > LATE_S


def _points(report: Report) -> list[Sequence[Cell]]:
    """Spans and gaps, the newest first."""
    spans = [(one.ends, _row(one.begins, one.ends, _span(one))) for one in report.spans or ()]
    gaps = [
        (one.until or report.at, _row(one.after, one.until, Cell("gap", "off", note=one.why))) for one in report.gaps
    ]
    return [row for _, row in sorted([*spans, *gaps], key=lambda one: -one[0])]


def _span(one: backup_report.Span) -> Cell:
    return (
        Cell(f"every instant, from {one.backups} {_backups(one.backups)} on")
        if one.ends > one.begins
        else Cell("the backup alone")
    )


def _backups(count: int) -> str:
    return "backup" if count == 1 else "backups"


def _row(begins: float, ends: float | None, what: Cell) -> Sequence[Cell]:
    return [_at(begins), Cell("still") if ends is None else _at(ends), what]


def _link(one: Backup) -> Sequence[Cell]:
    return [Cell(one.id), Cell(one.kind), _proof(one), _at(one.taken)]


def _stores(report: Report) -> list[Sequence[Cell]]:
    """A store that is away is told in a sentence of its own, which names it."""
    here = [[Cell(one), Cell("answers", "on")] for one in report.stores if not any(one in said for said in report.away)]
    return [*([Cell("away"), Cell(said, "off")] for said in report.away), *here]


def _backup(one: Backup) -> Sequence[Cell]:
    return [
        Cell(one.id, note="pinned" if one.pinned else ""),
        _at(one.taken),
        _proof(one),
        Cell("none" if one.level < 0 else str(one.level)),
        Cell(_size(one.size_bytes)),
        Cell(_size(one.stored_bytes)),
        Cell(one.fault),
    ]


def _proof(one: Backup) -> Cell:
    return Cell(proven(one), _MARKS[proven(one)])


def _at(instant_s: float) -> Cell:
    return Cell(instant(round(instant_s * 1000)))


def _size(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else number(size_bytes / _MIB, "MiB")


BOARD = Board(
    "Backups",
    "/admin/backups",
    "What can be restored to, how proven it is, and when the next backup is due, as whoever makes the backups told it last.",
    (Part("the backups", backups),),
    timed=False,
    template="backups.html",
    drawing=drawing,
)
