"""The obvious version's writes: entities loaded, rules checked, entities changed and added, one commit."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated

from argon2.exceptions import VerificationError
from fastapi import APIRouter, Depends, Response
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from system.challenge_models import ACCEPTED, DECLINED, ISSUED, SETTLED, Challenge, ChallengeStep
from system.errors import Conflict, Forbidden, Invalid, NotFound, Unauthorised
from system.notification_models import Notification
from system.passwords import HASHER
from system.points_models import ESCROW, POOL, USER, PointsAccount, PointsTransfer
from system.tournament_models import OPEN, PLAYING, Match, MatchEvent, Tournament, TournamentEntry
from system.user_models import User, UserSession
from tests.bench.service.naive import shapes
from tests.bench.service.naive.database import get_writing_session
from tests.bench.service.naive.reads import Authorization, profile_of, purse
from tests.bench.service.naive.recording import Asked, Operation, apply_once, current_user, happened, tell

router = APIRouter()

Writing = Annotated[Session, Depends(get_writing_session)]

SESSION_MS = 14 * 24 * 3600 * 1000
CHALLENGE_MS = 24 * 3600 * 1000


@router.post("/sessions", status_code=201)
def log_in(session: Writing, asked: Asked, given: shapes.LogIn) -> Response:
    """Log in."""
    user = _checked(session, given)
    token = secrets.token_urlsafe(32)

    def work() -> shapes.SessionMade:
        made = UserSession(
            operation_id=asked.id,
            user_id=user.id,
            token_hash=hashlib.sha256(token.encode()).hexdigest(),
            created_ms=asked.at_ms,
            expires_ms=asked.at_ms + SESSION_MS,
        )
        session.add(made)
        session.flush()
        happened(session, asked, user, "users.logged-in", made.id, user_id=user.id)
        return shapes.SessionMade(session_id=made.id, user_id=user.id, expires_ms=made.expires_ms)

    return apply_once(session, asked, user, given, 201, work, once={"token": token})


@router.patch("/users/me")
def edit_profile(
    session: Writing, asked: Asked, wanted: shapes.EditProfile, authorization: Authorization = ""
) -> Response:
    """Change the caller's own profile."""
    me = current_user(session, authorization)

    def work() -> shapes.Profile:
        if wanted.display_name is not None:
            me.display_name = wanted.display_name
        if wanted.bio is not None:
            me.bio = wanted.bio
        happened(session, asked, me, "users.edited", me.id, display_name=wanted.display_name, bio=wanted.bio)
        return profile_of(session, me)

    return apply_once(session, asked, me, wanted, 200, work)


@router.post("/matches/{match_id}/events", status_code=201)
def score(
    session: Writing, asked: Asked, match_id: int, wanted: shapes.Scored, authorization: Authorization = ""
) -> Response:
    """Report a score."""
    me = current_user(session, authorization)

    def work() -> shapes.ScoreNow:
        match = session.get(Match, match_id, with_for_update=True)
        if match is None:
            raise NotFound("match-not-found", f"There is no match {match_id}.")
        tournament = session.get_one(Tournament, match.tournament_id)
        if me.id not in (match.home_id, match.away_id, tournament.organiser_id):
            raise Forbidden("not-your-match", "Only its players and the organiser may score.")
        if match.state != PLAYING:
            raise Conflict("match-closed", f"Match {match_id} is closed.")
        if wanted.side == "home":
            match.home_score += wanted.points
        else:
            match.away_score += wanted.points
        scored = MatchEvent(
            operation_id=asked.id, match_id=match_id, side=wanted.side, points=wanted.points, at_ms=asked.at_ms
        )
        session.add(scored)
        session.flush()
        happened(session, asked, me, "matches.scored", match_id, side=wanted.side, points=wanted.points)
        return shapes.ScoreNow(
            match_id=match_id, event_id=scored.id, home_score=match.home_score, away_score=match.away_score
        )

    return apply_once(session, asked, me, wanted, 201, work)


@router.post("/tournaments/{tournament_id}/entries", status_code=201)
def join(session: Writing, asked: Asked, tournament_id: int, authorization: Authorization = "") -> Response:
    """Take a place; the fee goes from the caller's points into the pool."""
    me = current_user(session, authorization)

    def work() -> shapes.Joined:
        tournament = session.get(Tournament, tournament_id, with_for_update=True)
        if tournament is None:
            raise NotFound("tournament-not-found", f"There is no tournament {tournament_id}.")
        place = select(TournamentEntry).where(
            TournamentEntry.tournament_id == tournament_id, TournamentEntry.user_id == me.id
        )
        if session.scalars(place).one_or_none() is not None:
            raise Conflict("already-entered", f"You have a place in tournament {tournament_id} already.")
        if tournament.state != OPEN:
            raise Conflict("tournament-not-open", f"Tournament {tournament_id} is {tournament.state}.")
        if tournament.entries >= tournament.capacity:
            raise Conflict("tournament-full", f"Tournament {tournament_id} has no place left.")
        tournament.entries += 1
        session.add(
            TournamentEntry(operation_id=asked.id, tournament_id=tournament_id, user_id=me.id, at_ms=asked.at_ms)
        )
        if tournament.entry_fee:
            mine, pool = _locked(session, purse(session, me.id), _account(session, POOL, tournament_id))
            _transfer(session, asked, mine, pool, tournament.entry_fee, "entry-fee", tournament_id)
        happened(session, asked, me, "tournaments.joined", tournament_id)
        text = f"You have a place in “{tournament.name}”."
        tell(session, asked, me.id, "tournament-joined", text, tournament_id)
        return shapes.Joined(tournament_id=tournament_id, user_id=me.id, entries=tournament.entries)

    return apply_once(session, asked, me, None, 201, work)


@router.post("/challenges", status_code=201)
def challenge(
    session: Writing, asked: Asked, wanted: shapes.NewChallenge, authorization: Authorization = ""
) -> Response:
    """Challenge somebody."""
    me = current_user(session, authorization)

    def work() -> shapes.Issued:
        if wanted.opponent_id == me.id:
            raise Invalid("self-challenge", "A challenge needs somebody else.")
        if session.get(User, wanted.opponent_id) is None:
            raise NotFound("user-not-found", f"There is no user {wanted.opponent_id}.")
        made = Challenge(
            operation_id=asked.id,
            challenger_id=me.id,
            opponent_id=wanted.opponent_id,
            title=wanted.title,
            stake=wanted.stake,
            state=ISSUED,
            created_ms=asked.at_ms,
            expires_ms=asked.at_ms + CHALLENGE_MS,
        )
        session.add(made)
        session.flush()
        _step(session, asked, made, me, ISSUED)
        happened(session, asked, me, "challenges.issued", made.id, opponent_id=wanted.opponent_id, stake=wanted.stake)
        text = f"You were challenged to “{wanted.title}” for {wanted.stake} points."
        tell(session, asked, wanted.opponent_id, "challenge-issued", text, made.id)
        return shapes.Issued(id=made.id, state=ISSUED, expires_ms=made.expires_ms)

    return apply_once(session, asked, me, wanted, 201, work)


@router.post("/challenges/{challenge_id}/accept")
def accept(session: Writing, asked: Asked, challenge_id: int, authorization: Authorization = "") -> Response:
    """Accept: both stakes go into escrow."""
    me = current_user(session, authorization)

    def work() -> shapes.Moved:
        challenge = _challenge(session, challenge_id)
        if me.id != challenge.opponent_id:
            raise Forbidden("not-your-challenge", "Only its parties may do that.")
        if challenge.expires_ms <= asked.at_ms:
            raise Conflict("challenge-expired", f"Challenge {challenge_id} has expired.")
        _move(session, asked, challenge, me, ISSUED, ACCEPTED)
        escrow = _account(session, ESCROW, challenge_id)
        parties = (purse(session, challenge.challenger_id), purse(session, challenge.opponent_id))
        for party in _locked(session, *parties):
            _transfer(session, asked, party, escrow, challenge.stake, "stake", challenge_id)
        happened(session, asked, me, "challenges.accepted", challenge_id)
        text = f"Your challenge “{challenge.title}” was accepted."
        tell(session, asked, challenge.challenger_id, "challenge-accepted", text, challenge_id)
        return shapes.Moved(id=challenge_id, state=ACCEPTED)

    return apply_once(session, asked, me, None, 200, work)


@router.post("/challenges/{challenge_id}/decline")
def decline(session: Writing, asked: Asked, challenge_id: int, authorization: Authorization = "") -> Response:
    """Decline."""
    me = current_user(session, authorization)

    def work() -> shapes.Moved:
        challenge = _challenge(session, challenge_id)
        if me.id != challenge.opponent_id:
            raise Forbidden("not-your-challenge", "Only its parties may do that.")
        _move(session, asked, challenge, me, ISSUED, DECLINED)
        happened(session, asked, me, "challenges.declined", challenge_id)
        text = f"Your challenge “{challenge.title}” was declined."
        tell(session, asked, challenge.challenger_id, "challenge-declined", text, challenge_id)
        return shapes.Moved(id=challenge_id, state=DECLINED)

    return apply_once(session, asked, me, None, 200, work)


@router.post("/challenges/{challenge_id}/settle")
def settle(
    session: Writing, asked: Asked, challenge_id: int, wanted: shapes.Winner, authorization: Authorization = ""
) -> Response:
    """Say who won; both stakes are theirs."""
    me = current_user(session, authorization)

    def work() -> shapes.Settled:
        challenge = _challenge(session, challenge_id)
        parties = (challenge.challenger_id, challenge.opponent_id)
        if me.id not in parties:
            raise Forbidden("not-your-challenge", "Only its parties may do that.")
        if wanted.winner_id not in parties:
            raise Invalid("winner-not-a-party", f"User {wanted.winner_id} takes no part in challenge {challenge_id}.")
        _move(session, asked, challenge, me, ACCEPTED, SETTLED)
        challenge.winner_id = wanted.winner_id
        escrow, winner = _locked(session, _account(session, ESCROW, challenge_id), purse(session, wanted.winner_id))
        _transfer(session, asked, escrow, winner, 2 * challenge.stake, "winnings", challenge_id)
        happened(session, asked, me, "challenges.settled", challenge_id, winner_id=wanted.winner_id)
        for party in parties:
            text = f"The challenge “{challenge.title}” was settled."
            tell(session, asked, party, "challenge-settled", text, challenge_id)
        return shapes.Settled(id=challenge_id, state=SETTLED, winner_id=wanted.winner_id)

    return apply_once(session, asked, me, wanted, 200, work)


@router.post("/notifications/read-all")
def read_all(session: Writing, asked: Asked, authorization: Authorization = "") -> Response:
    """Mark all as read."""
    me = current_user(session, authorization)

    def work() -> shapes.AllRead:
        unread = update(Notification).where(Notification.user_id == me.id, Notification.read_ms.is_(None))
        read = len(session.scalars(unread.values(read_ms=asked.at_ms).returning(Notification.id)).all())
        happened(session, asked, me, "notifications.all-read", me.id, read=read)
        return shapes.AllRead(read=read)

    return apply_once(session, asked, me, None, 200, work)


@router.post("/notifications/{notification_id}/read")
def read(session: Writing, asked: Asked, notification_id: int, authorization: Authorization = "") -> Response:
    """Mark one as read."""
    me = current_user(session, authorization)

    def work() -> shapes.Read:
        notification = session.get(Notification, notification_id)
        if notification is None or notification.user_id != me.id:
            raise NotFound("notification-not-found", f"You have no notification {notification_id}.")
        if notification.read_ms is None:
            notification.read_ms = asked.at_ms
        happened(session, asked, me, "notifications.read", notification_id)
        return shapes.Read(id=notification_id, read=True)

    return apply_once(session, asked, me, None, 200, work)


def _checked(session: Session, given: shapes.LogIn) -> User:
    """The user whose name and password these are. Raises Unauthorised."""
    user = session.scalars(select(User).where(User.name == given.name)).one_or_none()
    session.expunge_all()
    session.rollback()  # hashing takes long, and nobody is to wait for a lock meanwhile
    try:
        if user is None or not HASHER.verify(user.password_hash, given.password):
            raise Unauthorised("wrong-credentials", "The name or the password is wrong.")
    except VerificationError as error:
        raise Unauthorised("wrong-credentials", "The name or the password is wrong.") from error
    return user


def _account(session: Session, kind: str, owner_id: int) -> PointsAccount:
    """That account, opened when there was none."""
    wanted = select(PointsAccount).where(PointsAccount.kind == kind, PointsAccount.owner_id == owner_id)
    account = session.scalars(wanted).one_or_none()
    if account is None:
        account = PointsAccount(kind=kind, owner_id=owner_id, balance=0)
        session.add(account)
        session.flush()
    return account


def _locked(session: Session, *accounts: PointsAccount) -> tuple[PointsAccount, ...]:
    """The accounts, held until the commit, and locked in the order of their ids so that no two wait for each other."""
    for account in sorted(accounts, key=lambda one: one.id):
        session.refresh(account, with_for_update=True)
    return accounts


def _transfer(
    session: Session,
    asked: Operation,
    source: PointsAccount,
    target: PointsAccount,
    amount: int,
    kind: str,
    reference: int,
) -> None:
    if source.kind == USER and source.balance < amount:
        raise Conflict("insufficient-points", f"This takes {amount} points, more than there are.")
    source.balance -= amount
    target.balance += amount
    session.add(
        PointsTransfer(
            operation_id=asked.id,
            from_id=source.id,
            to_id=target.id,
            amount=amount,
            kind=kind,
            reference=reference,
            at_ms=asked.at_ms,
        )
    )


def _challenge(session: Session, challenge_id: int) -> Challenge:
    challenge = session.get(Challenge, challenge_id, with_for_update=True)
    if challenge is None:
        raise NotFound("challenge-not-found", f"There is no challenge {challenge_id}.")
    return challenge


def _move(session: Session, asked: Operation, challenge: Challenge, actor: User, was: str, becomes: str) -> None:
    if challenge.state != was:
        raise Conflict(f"challenge-not-{was}", f"Challenge {challenge.id} is {challenge.state}, not {was}.")
    challenge.state = becomes
    _step(session, asked, challenge, actor, becomes)


def _step(session: Session, asked: Operation, challenge: Challenge, actor: User, state: str) -> None:
    session.add(
        ChallengeStep(
            operation_id=asked.id, challenge_id=challenge.id, state=state, actor_id=actor.id, at_ms=asked.at_ms
        )
    )
