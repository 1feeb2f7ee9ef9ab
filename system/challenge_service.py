"""Challenges: two users stake the same points, and the winner takes both.

    issued ── accept ──▶ accepted ── settle ──▶ settled     both stakes to the winner
      ├── decline ──▶ declined ▲        └── expire ──▶ expired   both stakes go back
      └── expire ──▶ expired   └ nothing was staked yet

A step is an UPDATE guarded by the state it starts from, so two of them at once cannot both be taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Table, bindparam, insert, or_, select, update

from system import notification_service, operations_service, points_service, user_service
from system.challenge_models import ACCEPTED, DECLINED, EXPIRED, ISSUED, SETTLED, Challenge, ChallengeStep
from system.errors import Conflict, Forbidden, Invalid, NotFound
from system.jobs import NOTHING_HAPPENED, Operation, Reply, write_job
from system.points_models import ESCROW, USER
from system.statements import Reader, Session

challenges: Table = Challenge.__table__  # type: ignore[assignment]
steps: Table = ChallengeStep.__table__  # type: ignore[assignment]

LIFETIME_MS = 24 * 3600 * 1000

_ISSUE = insert(challenges).returning(challenges.c.id)
_STEP = insert(steps)
_COLUMNS = tuple(column for column in challenges.c if column.name != "operation_id")
_ONE = select(*_COLUMNS).where(challenges.c.id == bindparam("wanted"))
_MINE = (
    select(*_COLUMNS)
    .where(
        or_(challenges.c.challenger_id == bindparam("user"), challenges.c.opponent_id == bindparam("user")),
        challenges.c.id < bindparam("before"),
    )
    .order_by(challenges.c.id.desc())
    .limit(bindparam("limit"))
)
_MINE_IN_STATE = _MINE.where(challenges.c.state == bindparam("wanted_state"))
_MOVE = (
    update(challenges)
    .where(challenges.c.id == bindparam("wanted"), challenges.c.state == bindparam("was"))
    .values(state=bindparam("becomes"), winner_id=bindparam("winner"))
    .returning(challenges.c.id)
)
_DUE = (
    select(*_COLUMNS)
    .where(challenges.c.state.in_((ISSUED, ACCEPTED)), challenges.c.expires_ms <= bindparam("now_ms"))
    .order_by(challenges.c.expires_ms)
    .limit(bindparam("limit"))
)


@write_job("challenges", "challenges", "challenge_steps", "notification_outbox")
def issue(session: Session, operation: Operation, opponent_id: int, stake: int, title: str) -> Reply:
    """A challenge the opponent may accept until it expires. Nothing is staked yet."""
    challenger_id = _actor(operation)
    if challenger_id == opponent_id:
        raise Invalid("self-challenge", "A challenge needs somebody else.")
    user_service.require_users(session, opponent_id)
    expires_ms = operation.at_ms + LIFETIME_MS
    row = {
        "operation_id": operation.id,
        "challenger_id": challenger_id,
        "opponent_id": opponent_id,
        "title": title,
        "stake": stake,
        "state": ISSUED,
        "created_ms": operation.at_ms,
        "expires_ms": expires_ms,
    }
    challenge_id = int(session.execute(_ISSUE, row).scalar_one())
    _step(session, operation, challenge_id, ISSUED)
    operations_service.record(
        session, operation, "challenges.issued", challenge_id, opponent_id=opponent_id, stake=stake
    )
    text = f"You were challenged to “{title}” for {stake} points."
    notification_service.tell(session, operation, opponent_id, "challenge-issued", text, challenge_id)
    return Reply(201, {"id": challenge_id, "state": ISSUED, "expires_ms": expires_ms})


@write_job("challenges", "challenge_steps", "points_transfers", "notification_outbox")
def accept(session: Session, operation: Operation, challenge_id: int) -> Reply:
    """Both stakes are in escrow. Raises Conflict when either party is short of points, and then no stake is.

    Also Conflict once the challenge has been answered, or when it is past its time though not yet swept up.
    """
    challenge = _challenge(session, challenge_id)
    _require(operation, challenge["opponent_id"])
    if challenge["expires_ms"] <= operation.at_ms:
        raise Conflict("challenge-expired", f"Challenge {challenge_id} has expired.")
    _move(session, operation, challenge, ISSUED, ACCEPTED)
    escrow = points_service.account(session, ESCROW, challenge_id)
    for party in _both(challenge):
        purse = points_service.account(session, USER, party)
        points_service.transfer(session, operation, purse, escrow, challenge["stake"], "stake", challenge_id)
    operations_service.record(session, operation, "challenges.accepted", challenge_id)
    text = f"Your challenge “{challenge['title']}” was accepted."
    notification_service.tell(session, operation, challenge["challenger_id"], "challenge-accepted", text, challenge_id)
    return Reply(200, {"id": challenge_id, "state": ACCEPTED})


@write_job("challenges", "challenge_steps", "notification_outbox")
def decline(session: Session, operation: Operation, challenge_id: int) -> Reply:
    """The challenge is over before anything was staked. Raises Conflict once it has been answered."""
    challenge = _challenge(session, challenge_id)
    _require(operation, challenge["opponent_id"])
    _move(session, operation, challenge, ISSUED, DECLINED)
    operations_service.record(session, operation, "challenges.declined", challenge_id)
    text = f"Your challenge “{challenge['title']}” was declined."
    notification_service.tell(session, operation, challenge["challenger_id"], "challenge-declined", text, challenge_id)
    return Reply(200, {"id": challenge_id, "state": DECLINED})


@write_job("challenges", "challenge_steps", "points_transfers", "notification_outbox")
def settle(session: Session, operation: Operation, challenge_id: int, winner_id: int) -> Reply:
    """Both stakes are the winner's. Either party may say who won. Raises Conflict unless both stakes are in escrow."""
    challenge = _challenge(session, challenge_id)
    parties = _both(challenge)
    _require(operation, *parties)
    if winner_id not in parties:
        raise Invalid("winner-not-a-party", f"User {winner_id} takes no part in challenge {challenge_id}.")
    _move(session, operation, challenge, ACCEPTED, SETTLED, winner_id)
    escrow = points_service.account(session, ESCROW, challenge_id)
    purse = points_service.account(session, USER, winner_id)
    points_service.transfer(session, operation, escrow, purse, 2 * challenge["stake"], "winnings", challenge_id)
    operations_service.record(session, operation, "challenges.settled", challenge_id, winner_id=winner_id)
    text = f"The challenge “{challenge['title']}” was settled."
    for party in parties:
        notification_service.tell(session, operation, party, "challenge-settled", text, challenge_id)
    return Reply(200, {"id": challenge_id, "state": SETTLED, "winner_id": winner_id})


@write_job("challenges", "challenge_steps", "points_transfers", "notification_outbox")
def expire_due(session: Session, operation: Operation, limit: int, now_ms: int) -> Reply:
    """Up to `limit` forgotten challenges are over; what was staked is back with both parties, exactly.

    Every party is told once, however many of theirs expired. `limit` bounds how long one turn holds the database.
    """
    due = session.execute(_DUE, {"now_ms": now_ms, "limit": limit}).mappings().all()
    if not due:
        return NOTHING_HAPPENED
    for challenge in due:
        _move(session, operation, challenge, challenge["state"], EXPIRED)
        if challenge["state"] == ACCEPTED:
            _refund(session, operation, challenge)
    operations_service.record(session, operation, "challenges.expired", None, challenges=[one["id"] for one in due])
    theirs = Counter(party for challenge in due for party in _both(challenge))
    for party, count in sorted(theirs.items()):
        text = "A challenge of yours expired." if count == 1 else f"{count} challenges of yours expired."
        notification_service.tell(session, operation, party, "challenge-expired", text, None)
    return Reply(200, {"expired": len(due)})


def challenge(connection: Reader, user_id: int, challenge_id: int) -> dict[str, Any]:
    """A challenge as one of its parties sees it. Raises NotFound for everybody else."""
    row = connection.execute(_ONE, {"wanted": challenge_id}).mappings().one_or_none()
    if row is None or user_id not in (row["challenger_id"], row["opponent_id"]):
        raise NotFound("challenge-not-found", f"You have no challenge {challenge_id}.")
    return dict(row)


def listing(connection: Reader, user_id: int, state: str | None, limit: int, before: int) -> dict[str, Any]:
    """The user's challenges, newest first; `next` continues the listing, None at its end."""
    wanted: dict[str, Any] = {"user": user_id, "before": before, "limit": limit}
    statement = _MINE
    if state is not None:
        statement, wanted["wanted_state"] = _MINE_IN_STATE, state
    rows = [dict(row) for row in connection.execute(statement, wanted).mappings()]
    return {"challenges": rows, "next": rows[-1]["id"] if len(rows) == limit else None}


def _refund(session: Session, operation: Operation, challenge: Mapping[str, Any]) -> None:
    escrow = points_service.account(session, ESCROW, challenge["id"])
    for party in _both(challenge):
        purse = points_service.account(session, USER, party)
        points_service.transfer(session, operation, escrow, purse, challenge["stake"], "refund", challenge["id"])


def _both(challenge: Mapping[str, Any]) -> tuple[int, int]:
    return challenge["challenger_id"], challenge["opponent_id"]


def _challenge(session: Session, challenge_id: int) -> Mapping[str, Any]:
    row: Mapping[str, Any] | None = session.execute(_ONE, {"wanted": challenge_id}).mappings().one_or_none()
    if row is None:
        raise NotFound("challenge-not-found", f"There is no challenge {challenge_id}.")
    return row


def _move(
    session: Session,
    operation: Operation,
    challenge: Mapping[str, Any],
    was: str,
    becomes: str,
    winner: int | None = None,
) -> None:
    wanted = {"wanted": challenge["id"], "was": was, "becomes": becomes, "winner": winner}
    if session.execute(_MOVE, wanted).one_or_none() is None:
        raise Conflict(f"challenge-not-{was}", f"Challenge {challenge['id']} is {challenge['state']}, not {was}.")
    _step(session, operation, challenge["id"], becomes)


def _step(session: Session, operation: Operation, challenge_id: int, state: str) -> None:
    row = {"operation_id": operation.id, "challenge_id": challenge_id, "state": state,
           "actor_id": operation.actor_id, "at_ms": operation.at_ms}  # fmt: skip
    session.later(_STEP, row)


def _actor(operation: Operation) -> int:
    assert operation.actor_id is not None
    return operation.actor_id


def _require(operation: Operation, *parties: int) -> None:
    if operation.actor_id not in parties:
        raise Forbidden("not-your-challenge", "Only its parties may do that.")
