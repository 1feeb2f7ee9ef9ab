"""Rows that name other rows: every relation there is, and the rows whose other half is missing or says otherwise.

Foreign keys are read off the schema, so that a new table is audited without being listed here. What no foreign key can say,
because the other table depends on a kind, or because the two halves must agree on a number, is written out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, select

from system.challenge_models import ACCEPTED
from system.challenge_service import challenges, steps
from system.match_service import events, matches
from system.models import metadata
from system.operations_service import activity, effect_tables, operations
from system.points_models import ESCROW, POOL, USER
from system.points_service import accounts
from system.statements import Session
from system.tournament_reads import entries, tournaments
from system.user_service import users

EXAMPLES = 50
"""Most ids listed per finding; one is enough to fail, and the rest are in the database."""


def orphans(session: Session) -> dict[str, list[Any]]:
    """For every relation the ids of the rows that break it, at most `EXAMPLES`; an empty list where all is well."""
    return {name: list(session.execute(broken).scalars()) for name, broken in _relations()}


@cache
def _relations() -> tuple[tuple[str, Select[Any]], ...]:
    every = (*_foreign_keys(), *_operations(), *_accounts(), *_counts())
    return tuple((name, broken.limit(EXAMPLES)) for name, broken in every)


def _foreign_keys() -> Iterator[tuple[str, Select[Any]]]:
    for child in metadata.sorted_tables:
        for key in sorted(child.foreign_keys, key=lambda key: key.parent.name):
            yield f"{child.name}.{key.parent.name}", _naming_nobody(child.c.id, key.parent, key.column)


def _operations() -> Iterator[tuple[str, Select[Any]]]:
    """An effect and the record of its operation exist together or not at all."""
    for effect in effect_tables():
        named = effect.c.operation_id
        yield f"{effect.name}.operation_id", _naming_nobody(named, named, operations.c.id).distinct()
    yield "operations.activity", _naming_nobody(operations.c.id, operations.c.id, activity.c.operation_id)
    yield "operations.actor_id", _naming_nobody(operations.c.id, operations.c.actor_id, users.c.id)
    yield "activity.actor_id", _naming_nobody(activity.c.id, activity.c.actor_id, users.c.id)


def _accounts() -> Iterator[tuple[str, Select[Any]]]:
    """An account and its owner, which is what the account's kind says it is."""
    for kind, owner in ((USER, users), (ESCROW, challenges), (POOL, tournaments)):
        of_kind = _naming_nobody(accounts.c.id, accounts.c.owner_id, owner.c.id).where(accounts.c.kind == kind)
        yield f"points_accounts.{kind}", of_kind
    purse = select(accounts.c.id).where(accounts.c.owner_id == users.c.id, accounts.c.kind == USER).exists()
    yield "users.account", select(users.c.id).where(~purse)


def _counts() -> Iterator[tuple[str, Select[Any]]]:
    """What is kept as a number or a state beside the rows that it comes from."""
    placed = select(func.count()).where(entries.c.tournament_id == tournaments.c.id).scalar_subquery()
    yield "tournaments.entries", select(tournaments.c.id).where(tournaments.c.entries != placed)

    scored = (
        select(events.c.match_id, _points("home").label("home"), _points("away").label("away"))
        .group_by(events.c.match_id)
        .subquery()
    )
    differs = (matches.c.home_score != func.coalesce(scored.c.home, 0)) | (
        matches.c.away_score != func.coalesce(scored.c.away, 0)
    )
    yield "matches.score", select(matches.c.id).outerjoin(scored, scored.c.match_id == matches.c.id).where(differs)

    reached = select(steps.c.id).where(steps.c.challenge_id == challenges.c.id, steps.c.state == challenges.c.state)
    yield "challenges.state", select(challenges.c.id).where(~reached.exists())

    due = case((challenges.c.state == ACCEPTED, 2 * challenges.c.stake), else_=0)
    escrow = and_(accounts.c.owner_id == challenges.c.id, accounts.c.kind == ESCROW)
    held = select(challenges.c.id).outerjoin(accounts, escrow).where(func.coalesce(accounts.c.balance, 0) != due)
    yield "challenges.escrow", held


def _naming_nobody(shown: ColumnElement[Any], named: ColumnElement[Any], known: ColumnElement[Any]) -> Select[Any]:
    """`shown` of the rows whose `named` is not null and is nowhere in `known`."""
    there = select(known).where(known == named).exists()
    return select(shown).where(named.is_not(None), ~there)


def _points(side: str) -> ColumnElement[int]:
    return func.sum(case((events.c.side == side, events.c.points), else_=0))
