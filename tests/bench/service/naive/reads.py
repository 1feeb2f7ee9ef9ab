"""The obvious version's reads: a plain function, a session, a query for entities, a response model.

Each ends its transaction itself: FastAPI turns what it returns into JSON in another thread, and when forty threads wait
for a connection while the requests that hold them wait for a thread, nobody gets on.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from system.challenge_models import Challenge
from system.errors import NotFound
from system.notification_models import Notification
from system.points_models import POOL, USER, PointsAccount, PointsTransfer
from system.standings import Score, table
from system.tournament_models import Match, Tournament, TournamentEntry
from system.user_models import User
from tests.bench.service.naive.database import get_session
from tests.bench.service.naive.recording import current_user
from tests.bench.service.naive.shapes import (
    Challenges,
    ChallengeView,
    Entry,
    Line,
    Notifications,
    NotificationView,
    Points,
    Profile,
    PublicProfile,
    Standings,
    Tournaments,
    TournamentView,
    Unread,
)

router = APIRouter()

Reading = Annotated[Session, Depends(get_session)]
Authorization = Annotated[str, Header()]

NEWEST = 2**63 - 1


@router.get("/users/me", response_model=Profile)
def profile(session: Reading, authorization: Authorization = "") -> Profile:
    """The caller's own profile."""
    with session.begin():
        return profile_of(session, current_user(session, authorization))


@router.get("/users/me/points", response_model=Points)
def points(session: Reading, authorization: Authorization = "", limit: int = 20, before: int = NEWEST) -> Points:
    """The caller's balance and what made it, newest first."""
    with session.begin():
        me = current_user(session, authorization)
        account = purse(session, me.id)
        transfers = session.scalars(
            select(PointsTransfer)
            .where(
                or_(PointsTransfer.from_id == account.id, PointsTransfer.to_id == account.id),
                PointsTransfer.id < before,
            )
            .order_by(PointsTransfer.id.desc())
            .limit(limit)
        ).all()
        entries = [
            Entry(
                id=one.id,
                amount=one.amount if one.to_id == account.id else -one.amount,
                kind=one.kind,
                reference=one.reference,
                at_ms=one.at_ms,
            )
            for one in transfers
        ]
        return Points(balance=account.balance, entries=entries, next=entries[-1].id if len(entries) == limit else None)


@router.get("/users/{user_id}", response_model=PublicProfile)
def player(session: Reading, user_id: int, authorization: Authorization = "") -> PublicProfile:
    """Somebody's public profile."""
    with session.begin():
        current_user(session, authorization)
        user = session.get(User, user_id)
        if user is None:
            raise NotFound("user-not-found", f"There is no user {user_id}.")
        return PublicProfile.model_validate(user)


@router.get("/tournaments", response_model=Tournaments)
def tournaments(
    session: Reading, authorization: Authorization = "", state: str | None = None, limit: int = 20, after: int = 0
) -> Tournaments:
    """Tournaments by id."""
    with session.begin():
        current_user(session, authorization)
        query = _with_pool().where(Tournament.id > after).order_by(Tournament.id).limit(limit)
        if state is not None:
            query = query.where(Tournament.state == state)
        views = [_view(tournament, pool) for tournament, pool in session.execute(query)]
        return Tournaments(tournaments=views, next=views[-1].id if len(views) == limit else None)


@router.get("/tournaments/{tournament_id}", response_model=TournamentView)
def tournament(session: Reading, tournament_id: int, authorization: Authorization = "") -> TournamentView:
    """One tournament."""
    with session.begin():
        current_user(session, authorization)
        found = session.execute(_with_pool().where(Tournament.id == tournament_id)).one_or_none()
        if found is None:
            raise NotFound("tournament-not-found", f"There is no tournament {tournament_id}.")
        return _view(*found)


@router.get("/tournaments/{tournament_id}/standings", response_model=Standings)
def standings(session: Reading, tournament_id: int, authorization: Authorization = "") -> Standings:
    """The entrants, best first."""
    with session.begin():
        current_user(session, authorization)
        if session.get(Tournament, tournament_id) is None:
            raise NotFound("tournament-not-found", f"There is no tournament {tournament_id}.")
        entrants = session.scalars(
            select(User)
            .join(TournamentEntry, TournamentEntry.user_id == User.id)
            .where(TournamentEntry.tournament_id == tournament_id)
            .order_by(TournamentEntry.id)
        )
        matches = session.scalars(select(Match).where(Match.tournament_id == tournament_id))
        lines = table(
            [(user.id, user.display_name) for user in entrants],
            [Score(one.home_id, one.away_id, one.home_score, one.away_score, one.state) for one in matches],
        )
        return Standings(
            standings=[
                Line(
                    user_id=one.user_id,
                    name=one.name,
                    wins=one.wins,
                    draws=one.draws,
                    losses=one.losses,
                    scored=one.scored,
                )
                for one in lines
            ]
        )


@router.get("/notifications/unread-count", response_model=Unread)
def unread_count(session: Reading, authorization: Authorization = "") -> Unread:
    """How many the caller has not read."""
    with session.begin():
        me = current_user(session, authorization)
        count = select(func.count()).where(Notification.user_id == me.id, Notification.read_ms.is_(None))
        return Unread(unread=session.execute(count).scalar_one())


@router.get("/notifications", response_model=Notifications)
def notifications(
    session: Reading, authorization: Authorization = "", unread: bool = False, limit: int = 20, before: int = NEWEST
) -> Notifications:
    """The caller's inbox, newest first."""
    with session.begin():
        me = current_user(session, authorization)
        query = (
            select(Notification)
            .where(Notification.user_id == me.id, Notification.id < before)
            .order_by(Notification.id.desc())
            .limit(limit)
        )
        if unread:
            query = query.where(Notification.read_ms.is_(None))
        found = session.scalars(query).all()
        return Notifications(
            notifications=[NotificationView.model_validate(one) for one in found],
            next=found[-1].id if len(found) == limit else None,
        )


@router.get("/challenges", response_model=Challenges)
def challenges(
    session: Reading, authorization: Authorization = "", state: str | None = None, limit: int = 20, before: int = NEWEST
) -> Challenges:
    """The caller's challenges, newest first."""
    with session.begin():
        me = current_user(session, authorization)
        query = (
            select(Challenge)
            .where(or_(Challenge.challenger_id == me.id, Challenge.opponent_id == me.id), Challenge.id < before)
            .order_by(Challenge.id.desc())
            .limit(limit)
        )
        if state is not None:
            query = query.where(Challenge.state == state)
        found = session.scalars(query).all()
        return Challenges(
            challenges=[ChallengeView.model_validate(one) for one in found],
            next=found[-1].id if len(found) == limit else None,
        )


def purse(session: Session, user_id: int) -> PointsAccount:
    """The user's account."""
    return session.scalars(
        select(PointsAccount).where(PointsAccount.kind == USER, PointsAccount.owner_id == user_id)
    ).one()


def profile_of(session: Session, user: User) -> Profile:
    """A user as they see themselves."""
    return Profile(
        id=user.id,
        name=user.name,
        display_name=user.display_name,
        bio=user.bio,
        created_ms=user.created_ms,
        points=purse(session, user.id).balance,
    )


def _with_pool() -> Select[Tournament, int]:
    return select(Tournament, func.coalesce(PointsAccount.balance, 0)).outerjoin(
        PointsAccount, (PointsAccount.owner_id == Tournament.id) & (PointsAccount.kind == POOL)
    )


def _view(tournament: Tournament, pool: int) -> TournamentView:
    return TournamentView(
        id=tournament.id,
        name=tournament.name,
        state=tournament.state,
        capacity=tournament.capacity,
        entries=tournament.entries,
        entry_fee=tournament.entry_fee,
        organiser_id=tournament.organiser_id,
        winner_id=tournament.winner_id,
        pool=pool,
    )
