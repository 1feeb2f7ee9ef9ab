"""Matches: paired, scored, closed. A match's score is the sum of its events, and final once it is closed.

    playing ── score, score, … ── close ──▶ closed

The score is counted up by a guarded UPDATE: an event is never lost between two reporters, nor added to a closed match.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from sqlalchemy import Table, bindparam, insert, select, update

from system import notification_service, operations_service, tournament_reads
from system.errors import Conflict, Forbidden, Invalid, NotFound
from system.jobs import Operation, Reply, write_job
from system.standings import Score
from system.statements import Reader, Session
from system.tournament_models import CLOSED, OPEN, PLAYING, Match, MatchEvent
from system.tournament_reads import tournaments

matches: Table = Match.__table__  # type: ignore[assignment]
events: Table = MatchEvent.__table__  # type: ignore[assignment]

Side = Literal["home", "away"]

_COLUMNS = tuple(column for column in matches.c if column.name != "operation_id")
_ONE = select(*_COLUMNS).where(matches.c.id == bindparam("wanted"))
_LIST = select(*_COLUMNS).where(matches.c.tournament_id == bindparam("wanted")).order_by(matches.c.id)
_SCORES = select(
    matches.c.home_id, matches.c.away_id, matches.c.home_score, matches.c.away_score, matches.c.state
).where(matches.c.tournament_id == bindparam("wanted"))
_PARTIES = (
    select(matches.c.home_id, matches.c.away_id, tournaments.c.organiser_id)
    .join(tournaments, tournaments.c.id == matches.c.tournament_id)
    .where(matches.c.id == bindparam("wanted"))
)
_PAIR = insert(matches).returning(*_COLUMNS)
_EVENT = insert(events).returning(events.c.id)
_PLAYED = update(matches).where(matches.c.id == bindparam("wanted"), matches.c.state == PLAYING)
_ADD = {
    side: _PLAYED.values({column: column + bindparam("scored")}).returning(matches.c.home_score, matches.c.away_score)
    for side, column in (("home", matches.c.home_score), ("away", matches.c.away_score))
}
_CLOSE = _PLAYED.values(state=CLOSED).returning(*_COLUMNS)


class _Parties(NamedTuple):
    """Who has a say in a match."""

    home_id: int
    away_id: int
    organiser_id: int


@write_job("tournaments", "matches", "notification_outbox")
def pair(session: Session, operation: Operation, tournament_id: int, home_id: int, away_id: int) -> Reply:
    """A match between two entrants of an open tournament. Raises Invalid for anybody else, or for one against oneself."""
    tournament = tournament_reads.organised(session, operation, tournament_id)
    if tournament["state"] != OPEN:
        raise Conflict("tournament-not-open", f"Tournament {tournament_id} is {tournament['state']}.")
    if home_id == away_id:
        raise Invalid("self-match", "A match needs two players.")
    for player in (home_id, away_id):
        if not tournament_reads.entered(session, tournament_id, player):
            raise Invalid("not-entered", f"User {player} has no place in tournament {tournament_id}.")
    row = {
        "operation_id": operation.id,
        "tournament_id": tournament_id,
        "home_id": home_id,
        "away_id": away_id,
        "state": PLAYING,
        "home_score": 0,
        "away_score": 0,
        "created_ms": operation.at_ms,
    }
    paired = session.execute(_PAIR, row).mappings().one()
    operations_service.record(session, operation, "matches.paired", paired["id"], tournament_id=tournament_id)
    for player in (home_id, away_id):
        text = f"You play a match in “{tournament['name']}”."
        notification_service.tell(session, operation, player, "match-paired", text, paired["id"])
    return Reply(201, dict(paired))


@write_job("matches", "match_events")
def score(session: Session, operation: Operation, match_id: int, side: Side, points: int) -> Reply:
    """The side has scored. Only the organiser and the two players may say so, and only while the match is played."""
    if operation.actor_id not in set(_parties(session, match_id)):
        raise Forbidden("not-your-match", "Only its players and the organiser may score.")
    now = session.execute(_ADD[side], {"wanted": match_id, "scored": points}).one_or_none()
    if now is None:
        raise Conflict("match-closed", f"Match {match_id} is closed.")
    row = {"operation_id": operation.id, "match_id": match_id, "side": side, "points": points, "at_ms": operation.at_ms}
    event_id = session.execute(_EVENT, row).scalar_one()
    operations_service.record(session, operation, "matches.scored", match_id, side=side, points=points)
    return Reply(
        201, {"match_id": match_id, "event_id": event_id, "home_score": now.home_score, "away_score": now.away_score}
    )


@write_job("matches", "notification_outbox")
def close(session: Session, operation: Operation, match_id: int) -> Reply:
    """The match's score is final. Only the organiser may say so, once."""
    if operation.actor_id != _parties(session, match_id).organiser_id:
        raise Forbidden("not-your-tournament", "Only the organiser may do that.")
    closed = session.execute(_CLOSE, {"wanted": match_id}).mappings().one_or_none()
    if closed is None:
        raise Conflict("match-closed", f"Match {match_id} is closed already.")
    home, away = closed["home_score"], closed["away_score"]
    operations_service.record(session, operation, "matches.closed", match_id, home=home, away=away)
    for player in (closed["home_id"], closed["away_id"]):
        text = f"Your match ended {home} : {away}."
        notification_service.tell(session, operation, player, "match-closed", text, match_id)
    return Reply(200, dict(closed))


def match(connection: Reader, match_id: int) -> dict[str, Any]:
    """A match as anybody sees it. Raises NotFound."""
    row = connection.execute(_ONE, {"wanted": match_id}).mappings().one_or_none()
    if row is None:
        raise NotFound("match-not-found", f"There is no match {match_id}.")
    return dict(row)


def listing(connection: Reader, tournament_id: int) -> dict[str, Any]:
    """The tournament's matches in the order they were paired. Raises NotFound."""
    tournament_reads.tournament(connection, tournament_id)
    return {"matches": [dict(row) for row in connection.execute(_LIST, {"wanted": tournament_id}).mappings()]}


def scores(connection: Reader, tournament_id: int) -> list[Score]:
    """How every match of the tournament stands, in no order."""
    return [Score(*row) for row in connection.execute(_SCORES, {"wanted": tournament_id})]


def _parties(session: Session, match_id: int) -> _Parties:
    found = session.execute(_PARTIES, {"wanted": match_id}).one_or_none()
    if found is None:
        raise NotFound("match-not-found", f"There is no match {match_id}.")
    return _Parties(*found)
