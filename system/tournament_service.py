"""Tournaments: opened, joined, finished; capacity never exceeded, one winner, the pool paid once.

    draft ── open ──▶ open ── join, matches ── finish ──▶ finished

Entries are counted by one guarded UPDATE, so that the last place goes to exactly one of those who want it. The winner is
the entrant with the most wins, then the most points scored, then the earliest entry. A tournament that nobody entered has
no winner and is never finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, insert, update
from sqlalchemy.exc import IntegrityError

from system import (
    match_service,
    notification_service,
    operations_service,
    points_service,
    standings,
    tournament_reads,
)
from system.errors import Conflict
from system.jobs import Operation, Reply, write_job
from system.points_models import POOL, USER
from system.statements import Reader, Session
from system.tournament_models import DRAFT, FINISHED, OPEN, PLAYING
from system.tournament_reads import entries, tournaments

_CREATE = insert(tournaments).returning(tournaments.c.id)
_ENTER = insert(entries)
_MOVE = (
    update(tournaments)
    .where(tournaments.c.id == bindparam("wanted"), tournaments.c.state == bindparam("was"))
    .values(state=bindparam("becomes"), winner_id=bindparam("winner"))
    .returning(tournaments.c.id)
)
_TAKE_PLACE = (
    update(tournaments)
    .where(
        tournaments.c.id == bindparam("wanted"),
        tournaments.c.state == OPEN,
        tournaments.c.entries < tournaments.c.capacity,
    )
    .values(entries=tournaments.c.entries + 1)
    .returning(tournaments.c.entries)
)


@write_job("tournaments", "tournaments")
def create(session: Session, operation: Operation, name: str, capacity: int, entry_fee: int) -> Reply:
    """A draft of the actor's; nobody can join before it is opened."""
    row = {
        "operation_id": operation.id,
        "name": name,
        "organiser_id": operation.actor_id,
        "state": DRAFT,
        "capacity": capacity,
        "entries": 0,
        "entry_fee": entry_fee,
        "created_ms": operation.at_ms,
    }
    tournament_id = int(session.execute(_CREATE, row).scalar_one())
    points_service.account(session, POOL, tournament_id)
    operations_service.record(session, operation, "tournaments.created", tournament_id, name=name, capacity=capacity)
    return Reply(201, tournament_reads.tournament(session, tournament_id))


@write_job("tournaments")
def open_(session: Session, operation: Operation, tournament_id: int) -> Reply:
    """The tournament takes entries. Raises Conflict when it is not a draft."""
    tournament = tournament_reads.organised(session, operation, tournament_id)
    _move(session, tournament, DRAFT, OPEN)
    operations_service.record(session, operation, "tournaments.opened", tournament_id)
    return Reply(200, tournament_reads.tournament(session, tournament_id))


@write_job("tournaments", "tournament_entries", "points_transfers", "notification_outbox")
def join(session: Session, operation: Operation, tournament_id: int) -> Reply:
    """The actor has a place, and the fee is in the pool.

    Raises Conflict `already-entered`, `tournament-not-open`, `tournament-full` or `insufficient-points`.
    """
    user_id = operation.actor_id
    assert user_id is not None
    tournament = tournament_reads.tournament(session, tournament_id)
    if tournament_reads.entered(session, tournament_id, user_id):
        raise _already_entered(tournament_id)
    taken = session.execute(_TAKE_PLACE, {"wanted": tournament_id}).scalar_one_or_none()
    if taken is None:
        if tournament["state"] != OPEN:
            raise Conflict("tournament-not-open", f"Tournament {tournament_id} is {tournament['state']}.")
        raise Conflict("tournament-full", f"Tournament {tournament_id} has no place left.")
    place = {"operation_id": operation.id, "tournament_id": tournament_id, "user_id": user_id, "at_ms": operation.at_ms}
    try:
        session.execute(_ENTER, place)
    except IntegrityError as error:  # two of the same user's requests at once, on an engine with several writers
        raise _already_entered(tournament_id) from error
    if tournament["entry_fee"]:
        purse = points_service.account(session, USER, user_id)
        pool = points_service.account(session, POOL, tournament_id)
        points_service.transfer(session, operation, purse, pool, tournament["entry_fee"], "entry-fee", tournament_id)
    operations_service.record(session, operation, "tournaments.joined", tournament_id)
    text = f"You have a place in “{tournament['name']}”."
    notification_service.tell(session, operation, user_id, "tournament-joined", text, tournament_id)
    return Reply(201, {"tournament_id": tournament_id, "user_id": user_id, "entries": taken})


@write_job("tournaments", "points_transfers", "notification_outbox")
def finish(session: Session, operation: Operation, tournament_id: int) -> Reply:
    """Exactly one winner, who has the whole pool.

    Raises Conflict `tournament-not-open` (the second time too), `matches-open` while one is played, `nobody-entered`.
    """
    tournament = tournament_reads.organised(session, operation, tournament_id)
    if tournament["state"] != OPEN:
        raise Conflict("tournament-not-open", f"Tournament {tournament_id} is {tournament['state']}.")
    scores = match_service.scores(session, tournament_id)
    if any(match.state == PLAYING for match in scores):
        raise Conflict("matches-open", f"Matches of tournament {tournament_id} are still being played.")
    table = standings.table(tournament_reads.entrants(session, tournament_id), scores)
    if not table:
        raise Conflict("nobody-entered", f"Nobody entered tournament {tournament_id}; it has no winner.")
    winner_id = table[0].user_id
    _move(session, tournament, OPEN, FINISHED, winner_id)
    pool = points_service.account(session, POOL, tournament_id)
    paid = points_service.balance(session, pool)
    if paid:
        purse = points_service.account(session, USER, winner_id)
        points_service.transfer(session, operation, pool, purse, paid, "prize", tournament_id)
    operations_service.record(session, operation, "tournaments.finished", tournament_id, winner_id=winner_id, paid=paid)
    text = f"You won “{tournament['name']}” and its pool of {paid} points."
    notification_service.tell(session, operation, winner_id, "tournament-won", text, tournament_id)
    return Reply(200, {"id": tournament_id, "winner_id": winner_id, "paid": paid})


def ranking(connection: Reader, tournament_id: int) -> dict[str, list[standings.Standing]]:
    """The entrants, best first. Raises NotFound."""
    tournament_reads.tournament(connection, tournament_id)
    entrants = tournament_reads.entrants(connection, tournament_id)
    return {"standings": standings.table(entrants, match_service.scores(connection, tournament_id))}


def _move(session: Session, tournament: Mapping[str, Any], was: str, becomes: str, winner: int | None = None) -> None:
    wanted = {"wanted": tournament["id"], "was": was, "becomes": becomes, "winner": winner}
    if session.execute(_MOVE, wanted).one_or_none() is None:
        raise Conflict(f"tournament-not-{was}", f"Tournament {tournament['id']} is {tournament['state']}, not {was}.")


def _already_entered(tournament_id: int) -> Conflict:
    return Conflict("already-entered", f"You have a place in tournament {tournament_id} already.")
