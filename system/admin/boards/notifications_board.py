"""The board of notifications: what is delivered, what fails and is tried again, and what waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from system.admin.boards import sums as summed
from system.admin.boards.asked import Filter
from system.admin.boards.board import Board, Look, Part
from system.admin.boards.panels import Cell, Chart, Column, Figure, Figures, Panel, Table, cells, number, when
from system.notification_models import DEAD, PENDING
from system.notification_service import attempts, backlog, outbox
from system.reporting.listings import RECORDS, listing

SUMS_KEPT_S = 5.0
_LISTED = 50
_WAITING = 20
_RECORD = RECORDS["deliveries"]


@dataclass(frozen=True, slots=True)
class Outbox:
    """What is to be delivered: how many wait and since when, how many were given up, and those that are tried again."""

    pending: int
    oldest_ms: int | None
    dead: int
    again: list[dict[str, Any]]
    outcomes: dict[str, int]
    retries: int


def waiting(connection: Connection, from_ms: int, to_ms: int) -> Outbox:
    """The outbox as it is, and how attempts came out within the time."""
    pending, oldest = backlog(connection)
    dead = connection.execute(select(func.count()).where(outbox.c.state == DEAD)).scalar_one()
    again = connection.execute(
        select(
            outbox.c.id, outbox.c.user_id, outbox.c.kind, outbox.c.attempts, outbox.c.at_ms, outbox.c.next_attempt_ms
        )
        .where(outbox.c.state == PENDING, outbox.c.attempts > 0)
        .order_by(outbox.c.next_attempt_ms, outbox.c.id)
        .limit(_WAITING)
    )
    within = (attempts.c.at_ms >= from_ms, attempts.c.at_ms < to_ms)
    of_outcomes = select(attempts.c.outcome, func.count()).where(*within).group_by(attempts.c.outcome)
    outcomes = {str(one): int(count) for one, count in connection.execute(of_outcomes)}
    retries = connection.execute(select(func.count()).where(*within, attempts.c.attempt > 1)).scalar_one()
    return Outbox(pending, oldest, dead, [dict(row) for row in again.mappings()], outcomes, retries)


async def standing(look: Look) -> list[Panel]:
    """How the outbox stands."""
    keep_s = 1.0 if look.window.step_s <= 60 else 15.0
    found = await look.read_seldom(keep_s, waiting, look.window.from_ms, look.window.to_ms)
    age_s = None if found.oldest_ms is None else max(0, look.now_ms - found.oldest_ms) / 1000
    failed, chosen = found.outcomes.get("failed", 0), "in the time chosen"
    items = [
        Figure("Waiting", number(found.pending), f"the oldest for {number(age_s, 's')}" if age_s is not None else ""),
        Figure("Delivered", number(found.outcomes.get("delivered", 0)), chosen),
        Figure("Failed", number(failed), chosen, "wait" if failed else ""),
        Figure("Retries", number(found.retries), chosen),
        Figure("Given up", number(found.dead), "ever", "off" if found.dead else ""),
    ]
    rows = [
        cells(
            (
                when(row["next_attempt_ms"]), Cell(row["kind"], "plain"), Cell(str(row["user_id"])), row["attempts"],
                when(row["at_ms"]), Cell(str(row["id"])),
            )
        )
        for row in found.again
    ]  # fmt: skip
    return [
        Figures("standing", "Notifications", items),
        Table("again", "Waiting to be tried again", _AGAIN, rows, "Nothing is."),
    ]


async def over_time(look: Look) -> list[Panel]:
    """Attempts in the window."""
    found = await look.read_seldom(SUMS_KEPT_S, summed.sums, look.window, look.now_ms)
    note = f"In each {summed.step(look.window)}; a minute is counted once it is over."
    delivered = [found.line("delivered", "notifications.delivered")]
    return [
        Chart("delivered", "Delivered", "", found.at, delivered, note),
        Chart("failed", "Failed", "", found.at, [found.line("failed", "notifications.failed")], note),
    ]


async def deliveries(look: Look) -> list[Panel]:
    """The attempts themselves."""
    found = await look.read(listing, _RECORD, look.filters(), _LISTED, look.question.after or None)
    rows = [
        cells(
            (
                when(row["at_ms"]),
                Cell(row["outcome"], "off" if row["outcome"] == "failed" else "on"),
                Cell(row["kind"], href=look.choosing("kind", row["kind"])),
                Cell(str(row["user_id"]), href=look.choosing("user", row["user_id"])),
                row["attempt"],
                row["error"],
            )
        )
        for row in found["deliveries"]
    ]
    older = look.older(found["next"])
    return [Table("deliveries", "Attempts", _ATTEMPTS, rows, "Nothing was attempted.", "The newest first.", older)]


_AGAIN = (
    Column("Tried next", "when"), Column("Of what"), Column("User", "number"), Column("Attempts", "number"),
    Column("Since", "when"), Column("Entry", "id"),
)  # fmt: skip
_ATTEMPTS = (
    Column("When", "when"), Column("Outcome"), Column("Of what"), Column("User", "number"), Column("Attempt", "number"),
    Column("The channel said"),
)  # fmt: skip

BOARD = Board(
    "Notifications",
    "/admin/notifications",
    "What is delivered, what fails and is tried again, and what waits.",
    (
        Part("how the outbox stands", standing),
        Part("the attempts over time", over_time),
        Part("the attempts", deliveries),
    ),
    (
        Filter("status", "Outcome", tuple(_RECORD.statuses)),
        Filter("kind", "Of what"),
        Filter("user", "User's id", kind="number"),
    ),
)
