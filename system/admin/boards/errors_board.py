"""The board of errors: what went wrong, how often, since when, and the request to look for in the log."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from system.admin.boards import sums as summed
from system.admin.boards.asked import Filter
from system.admin.boards.board import Board, Look, Part
from system.admin.boards.panels import Cell, Chart, Column, Figure, Figures, Panel, Series, Table, cells, number, when
from system.reporting.listings import RECORDS, listing
from system.reporting.record_jobs import errors

SUMS_KEPT_S = 5.0
_LISTED = 50
_RECORD = RECORDS["errors"]


def counted(connection: Connection, from_ms: int, to_ms: int) -> tuple[int, int, int | None]:
    """How many groups had an error within the time, how many of them are new in it, and when the last error came."""
    seen = (errors.c.last_ms >= from_ms, errors.c.first_ms < to_ms)
    groups, last = connection.execute(select(func.count(), func.max(errors.c.last_ms)).where(*seen)).one()
    new = connection.execute(
        select(func.count()).where(errors.c.first_ms >= from_ms, errors.c.first_ms < to_ms)
    ).scalar_one()
    return int(groups), int(new), last


async def standing(look: Look) -> list[Panel]:
    """How many there are, and over time."""
    groups, new, last = await look.read(counted, look.window.from_ms, look.window.to_ms)
    found = await look.read_seldom(SUMS_KEPT_S, summed.sums, look.window, look.now_ms)
    failed = sum(row.get("failed", 0) for row in found.requests)
    items = [
        Figure("Kinds of error", number(groups), "with one in the time chosen", "off" if groups else ""),
        Figure("New kinds", number(new), "first seen in the time chosen", "wait" if new else ""),
        Figure("Requests failed", number(failed), "in the time chosen, the minute under way not counted"),
        Figure("Last error", when(last).text, ""),
    ]
    rate = Chart(
        "rate", "Requests that failed", "", found.at, [Series("failed", found.per_step(lambda row: row.get("failed", 0)))],
        f"In each {summed.step(look.window)}.",
    )  # fmt: skip
    share = Chart("share", "Error rate", "%", found.at, [Series("failed", found.per_step(summed.share_failed))])
    return [Figures("standing", "Errors", items), rate, share]


async def groups(look: Look) -> list[Panel]:
    """The groups themselves."""
    found = await look.read(listing, _RECORD, look.filters(), _LISTED, look.question.after or None)
    rows = [
        cells(
            (
                Cell(row["kind"], href=look.choosing("kind", row["kind"]), note=row["code"]),
                row["count"],
                Cell(str(row["status"]), "off" if row["status"] >= 500 else "wait"),
                when(row["first_ms"]),
                when(row["last_ms"]),
                Cell(row["message"], note=row["place"]),
                Cell(row["request_id"]),
            )
        )
        for row in found["errors"]
    ]
    note = "One row for each kind, code and place, the newest kinds first. Message and request are of the last time."
    older = look.older(found["next"])
    return [Table("groups", "Kinds of error", _GROUPS, rows, "Nothing went wrong.", note, older)]


_GROUPS = (
    Column("Error", "name"), Column("Count", "number"), Column("Status"), Column("First seen", "when"),
    Column("Last seen", "when"), Column("Message"), Column("Request", "id"),
)  # fmt: skip

BOARD = Board(
    "Errors",
    "/admin/errors",
    "What went wrong, how often, since when, and the request to look for in the log.",
    (Part("how many errors there are", standing), Part("the errors", groups)),
    (Filter("kind", "Error"), Filter("status", "Status", ("4xx", "5xx"))),
)
