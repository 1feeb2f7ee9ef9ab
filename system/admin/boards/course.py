"""What can be restored to, as a drawing: spans, backups and gaps along the time from the oldest to now. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from system.backup_report import REHEARSED, VERIFIED, Backup, Report

WIDTH: Final = 1000.0
LEAST: Final = 3.0
"""What is shorter than can be seen is drawn as wide as this."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """From where to where, and of what."""

    x: float
    width: float
    begins: float
    ends: float


@dataclass(frozen=True, slots=True)
class Dot:
    """A backup, where it lies, and how far it was proven: suspect, complete, verified or rehearsed."""

    x: float
    kind: str
    backup: Backup


@dataclass(frozen=True, slots=True)
class Course:
    """The drawing, from the oldest point that can be restored to up to now."""

    begins: float
    ends: float
    spans: tuple[Stretch, ...]
    gaps: tuple[Stretch, ...]
    dots: tuple[Dot, ...]


def course(report: Report, now_s: float) -> Course | None:
    """The drawing of what was told; None when there is nothing to restore."""
    if not report.backups:
        return None
    begins = min(one.taken for one in report.backups)
    ends = max(now_s, *(one.taken for one in report.backups), begins + 1.0)

    def at(instant: float) -> float:
        return round(WIDTH * (min(max(instant, begins), ends) - begins) / (ends - begins), 1)

    def stretch(first: float, last: float) -> Stretch:
        x = min(at(first), WIDTH - LEAST)
        return Stretch(x, max(LEAST, round(at(last) - x, 1)), first, last)

    return Course(
        begins=begins,
        ends=ends,
        spans=tuple(stretch(one.begins, one.ends) for one in report.spans or () if one.ends > one.begins),
        gaps=tuple(stretch(one.after, ends if one.until is None else one.until) for one in report.gaps),
        dots=tuple(Dot(at(one.taken), proven(one), one) for one in report.backups),
    )


def proven(one: Backup) -> str:
    """How far it was proven, in a word."""
    if one.fault:
        return "suspect"
    return "rehearsed" if one.level >= REHEARSED else "verified" if one.level >= VERIFIED else "complete"
