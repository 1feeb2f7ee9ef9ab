"""The board of the users: who comes, who is there, and what they do with their points."""

from __future__ import annotations

from system.admin.boards import happenings
from system.admin.boards import sums as summed
from system.admin.boards.asked import Filter
from system.admin.boards.board import Board, Look, Part
from system.admin.boards.panels import Cell, Chart, Column, Figure, Figures, Panel, Series, Table, cells, number, when
from system.reporting.events import POINTS_MOVED

SUMS_KEPT_S = 5.0
ACTIVE_MS = 5 * 60_000
ACTIVE_KEPT_S = 10.0
_LISTED = 25
_CHALLENGES = ("issued", "accepted", "settled", "declined", "expired")
_OF_USERS = ("users.", "challenges.")


async def present(look: Look) -> list[Panel]:
    """Who came and who is there, until this moment."""
    counted = await look.read_seldom(1.0, happenings.totals, look.window.from_ms, look.window.to_ms)
    active = await look.read_seldom(ACTIVE_KEPT_S, happenings.active, look.now_ms - ACTIVE_MS)
    chosen = "in the time chosen"
    items = [
        Figure("Active users", number(active), "in the last five minutes"),
        Figure("Sign-ups", number(counted.get("users.signed-up", 0)), chosen),
        Figure("Log-ins", number(counted.get("users.logged-in", 0)), chosen),
        Figure("Challenges issued", number(counted.get("challenges.issued", 0)), chosen),
        Figure("Challenges settled", number(counted.get("challenges.settled", 0)), chosen),
    ]
    return [Figures("present", "Users", items)]


async def latest(look: Look) -> list[Panel]:
    """What users did last."""
    user = look.question.filter("user")
    found = await look.read(happenings.newest, _OF_USERS, int(user) if user else None, _LISTED)
    rows = [
        cells(
            (
                when(row["at_ms"]),
                Cell(row["kind"], "plain"),
                Cell(
                    row["display_name"] or "–", href=look.choosing("user", row["actor_id"]) if row["actor_id"] else ""
                ),
                Cell(str(row["actor_id"] or "–")),
                Cell(str(row["subject_id"] or "–")),
            )
        )
        for row in found
    ]
    whose = f"what user {user} did last" if user else "what was done last"
    note = f"Sign-ups, log-ins and challenges among {whose}, whatever time is chosen."
    return [Table("latest", "Latest", _LATEST, rows, "Nothing was done yet.", note)]


async def over_time(look: Look) -> list[Panel]:
    """Sign-ups, log-ins, points and challenges in the window."""
    found = await look.read_seldom(SUMS_KEPT_S, summed.sums, look.window, look.now_ms)
    came = [found.line("sign-ups", "users.signed-up"), found.line("log-ins", "users.logged-in")]
    challenges = [found.line(one, f"challenges.{one}") for one in _CHALLENGES]
    note = f"In each {summed.step(look.window)}; a minute is counted once it is over."
    moved = (
        f"{number(found.total_amount(POINTS_MOVED))} points in {number(found.total(POINTS_MOVED))} transfers. {note}"
    )
    return [
        Chart("came", "Sign-ups and log-ins", "", found.at, came, note),
        Chart("points", "Points moved", "", found.at, [Series("points", found.amount(POINTS_MOVED))], moved),
        Chart("challenges", "Challenges", "", found.at, challenges, note),
        Chart("transfers", "Transfers of points", "", found.at, [found.line("transfers", POINTS_MOVED)], note),
    ]


_LATEST = (Column("When", "when"), Column("What"), Column("Who"), Column("User", "number"), Column("Of what", "number"))

BOARD = Board(
    "Users",
    "/admin/users",
    "Who comes, who is there, and what they do with their points.",
    (
        Part("the users", present),
        Part("what happened in the time chosen", over_time),
        Part("what was done last", latest),
    ),
    (Filter("user", "User's id", kind="number"),),
)
