"""How the backups are, as a board reads it: what is newest, what it is restored from, and a file that is none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from system import backup_report
from system.admin.boards.backup_board import figures, panels
from system.admin.boards.course import course
from system.admin.boards.panels import Table
from system.backup_report import REHEARSED, VERIFIED, Backup, Gap, Report, ReportUnreadable, Span

NOW_S = 1_790_000_000.0


def backup(number: int, *, parent: str | None = None, level: int = -1, fault: str = "") -> Backup:
    """The one of that number was taken so many hours after the first."""
    return Backup(
        id=f"b{number}", kind="incr" if parent else "full", parent=parent, taken=NOW_S - 36_000 + 3_600 * number,
        level=level, state="suspect" if fault else "complete", fault=fault,
    )  # fmt: skip


def report(*backups: Backup, due: float | None = None, gaps: tuple[Gap, ...] = ()) -> Report:
    spans = (Span(NOW_S - 36_000, NOW_S - 18_000, 2), Span(NOW_S - 7_200, NOW_S - 7_200, 1))
    return Report(
        at=NOW_S,
        stores=("/a",),
        away=(),
        alarms=(),
        backups=backups,
        spans=spans,
        gaps=gaps,
        due=due,
        why_due="because",
    )


LADDER = (
    backup(0, level=5),
    backup(1, parent="b0", level=3),
    backup(2, parent="b1"),
    backup(3, parent="b2", fault="cut short"),
)


def test_the_newest_is_the_newest_good_one_that_was_proven_so_far() -> None:
    found = report(*LADDER)
    assert [one and one.id for one in (found.newest(), found.newest(VERIFIED), found.newest(REHEARSED))] == [
        "b2", "b1", "b0",
    ]  # fmt: skip
    assert report(LADDER[3]).newest() is None


def test_the_chain_begins_with_the_full_one() -> None:
    assert [one.id for one in report(*LADDER).chain()] == ["b0", "b1", "b2"]
    assert report().chain() == ()
    assert [one.id for one in report(backup(0, parent="gone")).chain()] == ["b0"], "what is not there is not shown"
    assert len(report(backup(0, parent="b1"), backup(1, parent="b0")).chain()) == 2, "a circle ends"


def test_the_figures_say_how_old_and_when_next() -> None:
    told = {one.label: (one.text, one.note) for one in figures(report(*LADDER, due=NOW_S + 1_800), NOW_S)}
    assert told == {
        "Newest": ("8 h old", "b2"),
        "Newest verified": ("9 h old", "b1"),
        "Newest rehearsed": ("10 h old", "b0"),
        "Next due": ("in 30 min", "because"),
        "Suspect": ("1", ""),
        "Stores away": ("0", ""),
    }
    told = {one.label: (one.text, one.note) for one in figures(report(due=NOW_S - 1), NOW_S)}
    assert (told["Newest"], told["Next due"]) == (("none", ""), ("now", "because"))


def test_spans_and_gaps_are_listed_newest_first() -> None:
    made = panels(
        report(*LADDER, gaps=(Gap(NOW_S - 18_000, NOW_S - 7_200, "cut"), Gap(NOW_S - 7_200, None, "off"))), "", NOW_S
    )
    points = next(one for one in made if isinstance(one, Table) and one.id == "points")
    assert [(row[1].text[11:], row[2].text, row[2].note) for row in points.rows] == [
        ("", "gap", "off"),
        ("12:13:20", "the backup alone", ""),
        ("12:13:20", "gap", "cut"),
        ("09:13:20", "every instant, from 2 backups on", ""),
    ]


def test_the_course_is_drawn_to_scale() -> None:
    drawn = course(report(*LADDER, gaps=(Gap(NOW_S - 18_000, None, "cut"),)), NOW_S)
    assert drawn is not None
    assert [(one.x, one.kind) for one in drawn.dots] == [
        (0.0, "rehearsed"), (100.0, "verified"), (200.0, "complete"), (300.0, "suspect"),
    ]  # fmt: skip
    assert [(one.x, one.width) for one in drawn.spans] == [(0.0, 500.0)], "a backup alone is no span"
    assert [(one.x, one.width) for one in drawn.gaps] == [(500.0, 500.0)]
    assert course(report(), NOW_S) is None


def test_what_was_left_is_read_and_what_is_no_report_is_said(tmp_path: Path) -> None:
    assert backup_report.read(tmp_path) is None
    path = tmp_path / backup_report.NAME
    path.write_bytes(msgspec.json.encode(report(*LADDER)))
    assert backup_report.read(tmp_path) == report(*LADDER)
    path.write_bytes(b'{"at": 1}')
    with pytest.raises(ReportUnreadable, match=r"backups\.json cannot be read"):
        backup_report.read(tmp_path)
