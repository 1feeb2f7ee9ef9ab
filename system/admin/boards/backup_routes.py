"""The Backups board: what can be restored to, how old and how proven the newest backup is, and when the next one is due.

Drawn from what was left in the status directory, so it shows while the database, and the stores, are gone.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import msgspec
from fastapi import Request, Response

from system import backup_report, http
from system.admin import pages
from system.admin.access import Role
from system.admin.boards.course import course
from system.admin.guard import Routes
from system.alerts.durations import words
from system.backup_report import REHEARSED, VERIFIED, Backup, Report, ReportUnreadable

routes = Routes()

LATE_S: Final = 300.0
"""A schedule says how it is twice a minute; when it said nothing for so long, nobody knows how it is now."""
LISTED: Final = 100


@routes.get("/admin/backups", least=Role.VIEWER, scope="read:boards", board="Backups", watchable=True)
async def backups(request: Request) -> Response:
    """What was last known of the backups."""
    place: Path | None = request.app.state.settings.status_dir
    report, trouble = (
        None,
        "GYM_STATUS_DIR names no directory, so nobody can leave word of the backups for this service.",
    )
    if place is not None:
        report, trouble = await asyncio.to_thread(_read, place)
    if not pages.wanted(request):
        body = {"report": report, "trouble": trouble}
        return Response(msgspec.json.encode(body), 200, media_type="application/json")
    now_s = http.now_ms() / 1000
    return pages.render(
        request,
        "backups.html",
        report=report,
        trouble=trouble or _late(report, now_s),
        figures=figures(report, now_s) if report else (),
        course=course(report, now_s) if report else None,
        listed=tuple(reversed(report.backups))[:LISTED] if report else (),
    )


def figures(report: Report, now_s: float) -> tuple[tuple[str, str, str], ...]:
    """The name of each figure, the figure and what it is of."""

    def age(one: Backup | None) -> tuple[str, str]:
        return ("none", "") if one is None else (f"{words(now_s - one.taken)} old", one.id)

    due = "not planned" if report.due is None else "now" if report.due <= now_s else f"in {words(report.due - now_s)}"
    return (
        ("Newest", *age(report.newest())),
        ("Newest verified", *age(report.newest(VERIFIED))),
        ("Newest rehearsed", *age(report.newest(REHEARSED))),
        ("Next due", due, report.why_due),
    )


def _read(place: Path) -> tuple[Report | None, str]:
    try:
        report = backup_report.read(place)
    except ReportUnreadable as error:
        return None, str(error)
    return report, "" if report else f"Nothing was left in {place}: gymkhana schedule --status-dir leaves it there."


def _late(report: Report | None, now_s: float) -> str:
    if report is None or now_s - report.at <= LATE_S:
        return ""
    return f"This is how the backups were {words(now_s - report.at)} ago; nobody has said anything since."
