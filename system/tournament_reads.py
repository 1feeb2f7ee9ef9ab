"""What can be read of tournaments: one, many, who entered. Nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, bindparam, func, select

from system.errors import Forbidden, NotFound
from system.jobs import Operation
from system.points_models import POOL, PointsAccount
from system.statements import Reader, Session
from system.tournament_models import Tournament, TournamentEntry
from system.user_models import User, shown_name

tournaments: Table = Tournament.__table__  # type: ignore[assignment]
entries: Table = TournamentEntry.__table__  # type: ignore[assignment]
users: Table = User.__table__  # type: ignore[assignment]
accounts: Table = PointsAccount.__table__  # type: ignore[assignment]

_VIEW = select(
    tournaments.c.id,
    tournaments.c.name,
    tournaments.c.state,
    tournaments.c.capacity,
    tournaments.c.entries,
    tournaments.c.entry_fee,
    tournaments.c.organiser_id,
    tournaments.c.winner_id,
    func.coalesce(accounts.c.balance, 0).label("pool"),
).select_from(tournaments.outerjoin(accounts, (accounts.c.owner_id == tournaments.c.id) & (accounts.c.kind == POOL)))
_ONE = _VIEW.where(tournaments.c.id == bindparam("wanted"))
_HELD = _ONE.with_for_update(of=tournaments)
_LIST = _VIEW.where(tournaments.c.id > bindparam("after")).order_by(tournaments.c.id).limit(bindparam("limit"))
_LIST_IN_STATE = _LIST.where(tournaments.c.state == bindparam("wanted_state"))
_ENTERED = select(entries.c.id).where(
    entries.c.tournament_id == bindparam("wanted"), entries.c.user_id == bindparam("user")
)
_ENTRANTS = (
    select(entries.c.user_id, shown_name)
    .join(users, users.c.id == entries.c.user_id)
    .where(entries.c.tournament_id == bindparam("wanted"))
    .order_by(entries.c.id)
)


def tournament(connection: Reader, tournament_id: int) -> dict[str, Any]:
    """A tournament as anybody sees it. Raises NotFound."""
    return dict(_found(connection.execute(_ONE, {"wanted": tournament_id}).mappings().one_or_none(), tournament_id))


def organised(session: Session, operation: Operation, tournament_id: int) -> Mapping[str, Any]:
    """The actor's own tournament, which nobody else can change before this transaction ends.

    Raises NotFound, and Forbidden when somebody else organises it.
    """
    row = _found(session.execute(_HELD, {"wanted": tournament_id}).mappings().one_or_none(), tournament_id)
    if row["organiser_id"] != operation.actor_id:
        raise Forbidden("not-your-tournament", "Only the organiser may do that.")
    return row


def listing(connection: Reader, state: str | None, limit: int, after: int) -> dict[str, Any]:
    """Tournaments by id; `next` continues the listing, None at its end."""
    wanted: dict[str, Any] = {"after": after, "limit": limit}
    statement = _LIST
    if state is not None:
        statement, wanted["wanted_state"] = _LIST_IN_STATE, state
    rows = [dict(row) for row in connection.execute(statement, wanted).mappings()]
    return {"tournaments": rows, "next": rows[-1]["id"] if len(rows) == limit else None}


def entered(session: Session, tournament_id: int, user_id: int) -> bool:
    """Whether the user has a place in the tournament."""
    return session.execute(_ENTERED, {"wanted": tournament_id, "user": user_id}).one_or_none() is not None


def entrants(connection: Reader, tournament_id: int) -> list[tuple[int, str]]:
    """Who has a place, as id and display name, in the order they came."""
    return [(user_id, name) for user_id, name in connection.execute(_ENTRANTS, {"wanted": tournament_id})]


def _found(row: Mapping[str, Any] | None, tournament_id: int) -> Mapping[str, Any]:
    if row is None:
        raise NotFound("tournament-not-found", f"There is no tournament {tournament_id}.")
    return row
