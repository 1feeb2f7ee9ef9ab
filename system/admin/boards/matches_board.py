"""The board of tournaments and matches: what is being played, who leads, and how the last ones ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy import Table as Relation

from system import match_service, standings, tournament_reads
from system.admin.boards import happenings
from system.admin.boards import sums as summed
from system.admin.boards.asked import Filter
from system.admin.boards.board import Board, Look, Part
from system.admin.boards.panels import Cell, Chart, Column, Figure, Figures, Mark, Panel, Table, cells, number, when
from system.errors import NotFound
from system.match_service import matches
from system.operations_service import activity
from system.points_models import POOL, PointsAccount
from system.shapes import ID_MAX
from system.tournament_models import DRAFT, FINISHED, OPEN, PLAYING
from system.tournament_reads import tournaments
from system.user_models import User

accounts: Relation = PointsAccount.__table__  # type: ignore[assignment]
users: Relation = User.__table__  # type: ignore[assignment]
home, away = users.alias("home"), users.alias("away")

SUMS_KEPT_S = 5.0
CLOSED_KIND = "matches.closed"
_LISTED = 20
_STATES: dict[str, Mark] = {DRAFT: "plain", OPEN: "on", FINISHED: "plain"}
LOOKED_THROUGH = 100_000
"""Newest entries among which ended matches are looked for: there is no index of kind and time."""
_AMONG = f"As they end, the newest first, among the last {LOOKED_THROUGH:,} things that happened in the time chosen."


@dataclass(frozen=True, slots=True)
class Play:
    """What is there: how many tournaments in each state, some of them whole, and the matches that ended last."""

    states: dict[str, int]
    shown: list[dict[str, Any]]
    playing: int
    latest: list[dict[str, Any]]


def play(connection: Connection, state: str, tournament: int | None, from_ms: int, to_ms: int) -> Play:
    """The tournaments of that state, the newest first, with their matches counted; and what ended within the time."""
    states = {
        name: int(count)
        for name, count in connection.execute(
            select(tournaments.c.state, func.count()).group_by(tournaments.c.state)
        )
    }  # fmt: skip
    listed = select(tournaments, func.coalesce(accounts.c.balance, 0).label("pool")).select_from(
        tournaments.outerjoin(accounts, (accounts.c.owner_id == tournaments.c.id) & (accounts.c.kind == POOL))
    )
    listed = listed.where(tournaments.c.state == state).order_by(tournaments.c.id.desc()).limit(_LISTED)
    rows = [dict(row) for row in connection.execute(listed).mappings()]
    counted: Counter[tuple[int, bool]] = Counter()
    of_these = select(matches.c.tournament_id, matches.c.state, func.count()).where(
        matches.c.tournament_id.in_([row["id"] for row in rows])
    )
    for tournament_id, match_state, count in connection.execute(
        of_these.group_by(matches.c.tournament_id, matches.c.state)
    ):
        counted[tournament_id, match_state == PLAYING] += count
    shown = [
        row | {"playing": counted[row["id"], True], "closed": counted[row["id"], False]} for row in rows
    ]  # fmt: skip
    latest = ended(connection, from_ms, to_ms, tournament)
    return Play(states, shown, sum(row["playing"] for row in shown), latest)


def ended(
    connection: Connection, from_ms: int, to_ms: int, tournament: int | None = None, limit: int = _LISTED
) -> list[dict[str, Any]]:
    """The matches that ended last in between, of that tournament or of any, the newest first."""
    oldest, newest = happenings.ids_within(connection, from_ms, to_ms)
    closed = select(activity.c.id, activity.c.at_ms, activity.c.subject_id).where(
        activity.c.kind == CLOSED_KIND,
        activity.c.id <= newest,
        activity.c.id >= max(oldest, newest - LOOKED_THROUGH),
    )
    if tournament is not None:
        of_it = select(matches.c.id).where(matches.c.tournament_id == tournament)
        closed = closed.where(activity.c.subject_id.in_(of_it))
    last = closed.order_by(activity.c.id.desc()).limit(limit).subquery()
    shown = select(
        last.c.at_ms, tournaments.c.id.label("tournament_id"), tournaments.c.name, matches.c.home_score,
        matches.c.away_score, home.c.display_name.label("home"), away.c.display_name.label("away"),
    ).select_from(
        last.join(matches, matches.c.id == last.c.subject_id)
        .join(tournaments, tournaments.c.id == matches.c.tournament_id)
        .join(home, home.c.id == matches.c.home_id)
        .join(away, away.c.id == matches.c.away_id)
    )  # fmt: skip
    return [dict(row) for row in connection.execute(shown.order_by(last.c.id.desc())).mappings()]


def leading(connection: Connection, tournament: int | None) -> tuple[str, list[standings.Standing]] | None:
    """Name and standings of that tournament, else of the one whose match ended last; None when there is none."""
    if tournament is None:
        last = ended(connection, 0, ID_MAX, limit=1)
        newest_open = select(func.max(tournaments.c.id)).where(tournaments.c.state == OPEN)
        tournament = last[0]["tournament_id"] if last else connection.execute(newest_open).scalar_one()
    if tournament is None:
        return None
    try:
        name = tournament_reads.tournament(connection, tournament)["name"]
    except NotFound:
        return None
    table = standings.table(
        tournament_reads.entrants(connection, tournament), match_service.scores(connection, tournament)
    )
    return name, table


async def in_play(look: Look) -> list[Panel]:
    """The figures, and the tables of what is played."""
    state = look.question.filter("state") or OPEN
    found = await look.read(play, state, _tournament(look), look.window.from_ms, look.window.to_ms)
    counted = await look.read(happenings.totals, look.window.from_ms, look.window.to_ms)
    items = [
        Figure(
            "Tournaments in play",
            number(found.states.get(OPEN, 0)),
            f"{number(found.states.get(FINISHED, 0))} finished",
        ),
        Figure("Matches being played", number(found.playing), "in the tournaments shown"),
        Figure("Matches ended", number(counted.get(CLOSED_KIND, 0)), "in the time chosen"),
        Figure("Scores", number(counted.get("matches.scored", 0)), "in the time chosen"),
        Figure("Places taken", number(counted.get("tournaments.joined", 0)), "in the time chosen"),
    ]
    latest = [
        [
            when(row["at_ms"]),
            Cell(f"{row['home']} – {row['away']}"),
            Cell(f"{row['home_score']} : {row['away_score']}"),
            Cell(row["name"], href=look.choosing("tournament", row["tournament_id"])),
        ]
        for row in found.latest
    ]
    return [
        Figures("play", "In play", items),
        Table("latest", "Latest matches", _LATEST, latest, "No match has ended.", _AMONG),
        Table("tournaments", f"Tournaments: {state}", _TOURNAMENTS, [_listed(look, row) for row in found.shown],
              f"No tournament is {state}.", f"The newest {_LISTED}."),
    ]  # fmt: skip


async def ranking(look: Look) -> list[Panel]:
    """The standings of one tournament."""
    found = await look.read_seldom(1.0, leading, _tournament(look))
    name, table = found or ("", [])
    rows = [
        cells((place, Cell(line.name), line.wins, line.draws, line.losses, line.scored))
        for place, line in enumerate(table[:_LISTED], 1)
    ]
    note = f"The first {_LISTED} of {len(table)}." if len(table) > _LISTED else ""
    title = f"Standings: {name}" if name else "Standings"
    return [Table("standings", title, _STANDINGS, rows, "Nobody has entered.", note)]


async def over_time(look: Look) -> list[Panel]:
    """How much was played in the window."""
    found = await look.read_seldom(SUMS_KEPT_S, summed.sums, look.window, look.now_ms)
    lines = [found.line("paired", "matches.paired"), found.line("ended", CLOSED_KIND)]
    entered = [found.line("places taken", "tournaments.joined"), found.line("finished", "tournaments.finished")]
    note = f"In each {summed.step(look.window)}; a minute is counted once it is over."
    return [
        Chart("matches", "Matches", "", found.at, lines, note),
        Chart("entries", "Tournaments", "", found.at, entered, note),
    ]


def _tournament(look: Look) -> int | None:
    chosen = look.question.filter("tournament")
    return int(chosen) if chosen else None


def _listed(look: Look, row: dict[str, Any]) -> list[Cell]:
    return cells(
        (
            Cell(row["name"], href=look.choosing("tournament", row["id"])),
            Cell(row["state"], _STATES.get(row["state"], "")),
            Cell(f"{row['entries']:,} of {row['capacity']:,}"),
            row["pool"],
            row["playing"],
            row["closed"],
            when(row["created_ms"]),
        )
    )


_LATEST = (Column("Ended", "when"), Column("Match"), Column("Score", "number"), Column("Tournament"))
_TOURNAMENTS = (
    Column("Tournament", "name"), Column("State"), Column("Places taken", "number"), Column("Pool", "number"),
    Column("Playing", "number"), Column("Ended", "number"), Column("Made", "when"),
)  # fmt: skip
_STANDINGS = (
    Column("Place", "number"), Column("Player", "name"), Column("Won", "number"), Column("Drawn", "number"),
    Column("Lost", "number"), Column("Scored", "number"),
)  # fmt: skip

BOARD = Board(
    "Matches",
    "/admin/matches",
    "Tournaments in play, their standings, and matches as they end.",
    (
        Part("what is in play", in_play),
        Part("the standings", ranking),
        Part("what was played in the time chosen", over_time),
    ),
    (Filter("state", "Tournaments", (DRAFT, OPEN, FINISHED)), Filter("tournament", "Tournament's id", kind="number")),
)
