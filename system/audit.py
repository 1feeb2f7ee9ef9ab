"""The facts of a committed state that must always hold, read and counted but not judged.

Points are conserved, capacities kept, winners single, nothing half-written, everybody told exactly once. Each fact is one
or two scans, so that an audit of a hundred thousand operations takes seconds. Which operations survived is told by
`operations_service.survivors`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Select, Subquery, and_, case, func, select, union, union_all

from system.challenge_models import EXPIRED
from system.challenge_service import challenges, steps
from system.notification_models import DELIVERED, PENDING
from system.notification_service import inbox, outbox
from system.operations_service import activity
from system.points_models import ESCROW, MINT, POOL, USER
from system.points_service import accounts, transfers
from system.relations import EXAMPLES, orphans
from system.statements import Session
from system.tournament_reads import entries, tournaments

TELLS = {
    "tournaments.joined": 1,
    "tournaments.finished": 1,
    "matches.paired": 2,
    "matches.closed": 2,
    "challenges.issued": 1,
    "challenges.accepted": 1,
    "challenges.declined": 1,
    "challenges.settled": 2,
}
"""Kinds of activity somebody must be told of, and how many are told.

`challenges.expired` tells every party of the challenges that expired; every other kind tells nobody. Written here and not
taken from the services: what judges them must not ask them.
"""


class Conservation(msgspec.Struct, frozen=True):
    """Where the points are. `balances + escrow + pools` must be `minted`."""

    minted: int
    balances: int
    escrow: int
    pools: int
    accounts_off: list[int]
    negative: list[int]


class TournamentFacts(msgspec.Struct, frozen=True):
    """One tournament: entries as rows, winners and payouts as found."""

    id: int
    state: str
    capacity: int
    entries: int
    pool: int
    winners: int
    payouts: int


class NotificationFacts(msgspec.Struct, frozen=True):
    """Operation ids that told too few or too many, and how many outbox entries wait."""

    missing: list[str]
    extra: list[str]
    undelivered: int


class Facts(msgspec.Struct, frozen=True):
    """The whole audit."""

    conservation: Conservation
    tournaments: list[TournamentFacts]
    orphans: dict[str, list[Any]]
    notifications: NotificationFacts


def facts(session: Session) -> Facts:
    """The audit of what this session sees. Reads only."""
    return Facts(_conservation(session), _tournaments(session), orphans(session), _notifications(session))


def _conservation(session: Session) -> Conservation:
    totals = dict(
        session.execute(select(accounts.c.kind, func.sum(accounts.c.balance)).group_by(accounts.c.kind)).all()
    )
    moves = union_all(
        select(transfers.c.to_id.label("account"), transfers.c.amount.label("amount")),
        select(transfers.c.from_id, -transfers.c.amount),
    ).subquery()
    explained = select(moves.c.account, func.sum(moves.c.amount).label("sum")).group_by(moves.c.account).subquery()
    off = (
        select(accounts.c.id)
        .outerjoin(explained, explained.c.account == accounts.c.id)
        .where(accounts.c.balance != func.coalesce(explained.c.sum, 0))
        .limit(EXAMPLES)
    )
    negative = select(accounts.c.id).where(accounts.c.balance < 0, accounts.c.kind != MINT).limit(EXAMPLES)
    return Conservation(
        minted=-int(totals.get(MINT, 0)),
        balances=int(totals.get(USER, 0)),
        escrow=int(totals.get(ESCROW, 0)),
        pools=int(totals.get(POOL, 0)),
        accounts_off=list(session.execute(off).scalars()),
        negative=list(session.execute(negative).scalars()),
    )


def _tournaments(session: Session) -> list[TournamentFacts]:
    counted = select(entries.c.tournament_id, func.count().label("n")).group_by(entries.c.tournament_id).subquery()
    prizes = (
        select(transfers.c.reference, func.count().label("n"))
        .where(transfers.c.kind == "prize")
        .group_by(transfers.c.reference)
        .subquery()
    )
    finishes = (
        select(activity.c.subject_id, func.count().label("n"))
        .where(activity.c.kind == "tournaments.finished")
        .group_by(activity.c.subject_id)
        .subquery()
    )
    statement = (
        select(
            tournaments.c.id,
            tournaments.c.state,
            tournaments.c.capacity,
            tournaments.c.winner_id,
            func.coalesce(accounts.c.balance, 0).label("pool"),
            func.coalesce(counted.c.n, 0).label("entries"),
            func.coalesce(prizes.c.n, 0).label("payouts"),
            func.coalesce(finishes.c.n, 0).label("finishes"),
        )
        .select_from(tournaments)
        .outerjoin(accounts, and_(accounts.c.owner_id == tournaments.c.id, accounts.c.kind == POOL))
        .outerjoin(counted, counted.c.tournament_id == tournaments.c.id)
        .outerjoin(prizes, prizes.c.reference == tournaments.c.id)
        .outerjoin(finishes, finishes.c.subject_id == tournaments.c.id)
        .order_by(tournaments.c.id)
    )
    return [
        TournamentFacts(
            id=row.id,
            state=row.state,
            capacity=row.capacity,
            entries=row.entries,
            pool=row.pool,
            # The winner in the row and the one that each finish named are the same one when all is well.
            winners=max(int(row.winner_id is not None), row.finishes),
            payouts=row.payouts,
        )
        for row in session.execute(statement)
    ]


def _notifications(session: Session) -> NotificationFacts:
    told = select(outbox.c.operation_id, func.count().label("n")).group_by(outbox.c.operation_id).subquery()
    expired = _told_of_expiry()
    due = case(
        *((activity.c.kind == kind, count) for kind, count in TELLS.items()),
        (activity.c.kind == "challenges.expired", func.coalesce(expired.c.n, 0)),
        else_=0,
    )
    have = func.coalesce(told.c.n, 0)
    compared = (
        select(activity.c.operation_id)
        .outerjoin(told, told.c.operation_id == activity.c.operation_id)
        .outerjoin(expired, expired.c.operation_id == activity.c.operation_id)
        .limit(EXAMPLES)
    )
    received = select(inbox.c.outbox_id, func.count().label("n")).group_by(inbox.c.outbox_id).subquery()
    arrived = (
        select(outbox.c.operation_id)
        .outerjoin(received, received.c.outbox_id == outbox.c.id)
        .distinct()
        .order_by(outbox.c.operation_id)
        .limit(EXAMPLES)
    )
    should = case((outbox.c.state == DELIVERED, 1), else_=0)
    copies = func.coalesce(received.c.n, 0)
    missing = (compared.where(have < due), arrived.where(copies < should))
    extra = (compared.where(have > due), arrived.where(copies > should), _told_of_nothing())
    waiting = select(func.count()).select_from(outbox).where(outbox.c.state == PENDING)
    return NotificationFacts(
        missing=[found for each in missing for found in session.execute(each).scalars()],
        extra=[found for each in extra for found in session.execute(each).scalars()],
        undelivered=int(session.execute(waiting).scalar_one()),
    )


def _told_of_expiry() -> Subquery:
    """How many parties the challenges have that each operation let expire."""
    parties = union(
        *(
            select(steps.c.operation_id, party.label("party"))
            .join(challenges, challenges.c.id == steps.c.challenge_id)
            .where(steps.c.state == EXPIRED)
            for party in (challenges.c.challenger_id, challenges.c.opponent_id)
        )
    ).subquery()
    return select(parties.c.operation_id, func.count().label("n")).group_by(parties.c.operation_id).subquery()


def _told_of_nothing() -> Select[Any]:
    """Operations that told somebody of something without having done anything."""
    done = select(activity.c.id).where(activity.c.operation_id == outbox.c.operation_id).exists()
    return select(outbox.c.operation_id).where(~done).distinct().limit(EXAMPLES)
