"""Points move by transfers alone: no balance changes without a row that says from where, to where and why.

Every transfer takes from one account exactly what it gives to another, so balances, escrow and pools together are always
what the mint gave out. An account cannot be overdrawn: the update that takes is guarded, and the table checks it again.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, and_, bindparam, case, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from system.errors import Conflict
from system.jobs import Operation
from system.points_models import MINT, USER, PointsAccount, PointsTransfer
from system.statements import Reader, Session

accounts: Table = PointsAccount.__table__  # type: ignore[assignment]
transfers: Table = PointsTransfer.__table__  # type: ignore[assignment]

MINT_OWNER = 0

_ACCOUNT = select(accounts.c.id).where(accounts.c.kind == bindparam("kind"), accounts.c.owner_id == bindparam("owner"))
_TAKE = (
    update(accounts)
    .where(
        accounts.c.id == bindparam("account"),
        or_(accounts.c.balance >= bindparam("amount"), accounts.c.kind == MINT),
    )
    .values(balance=accounts.c.balance - bindparam("amount"))
    .returning(accounts.c.id)
)
_GIVE = (
    update(accounts)
    .where(accounts.c.id == bindparam("account"))
    .values(balance=accounts.c.balance + bindparam("amount"))
)
_BALANCE = select(accounts.c.balance).where(accounts.c.id == bindparam("account"))
_PURSE = select(accounts.c.id, accounts.c.balance).where(
    accounts.c.kind == USER, accounts.c.owner_id == bindparam("owner")
)
_OPEN = insert(accounts).returning(accounts.c.id)
_TRANSFER = insert(transfers)
_STATEMENT = (
    select(
        transfers.c.id,
        case((transfers.c.to_id == bindparam("account"), transfers.c.amount), else_=-transfers.c.amount).label(
            "amount"
        ),
        transfers.c.kind,
        transfers.c.reference,
        transfers.c.at_ms,
    )
    .where(
        and_(
            or_(transfers.c.to_id == bindparam("account"), transfers.c.from_id == bindparam("account")),
            transfers.c.id < bindparam("before"),
        )
    )
    .order_by(transfers.c.id.desc())
    .limit(bindparam("limit"))
)


def account(session: Session, kind: str, owner_id: int) -> int:
    """The id of the account, opened with a balance of 0 when there was none."""
    found = session.execute(_ACCOUNT, {"kind": kind, "owner": owner_id}).scalar_one_or_none()
    if found is not None:
        return int(found)
    try:
        with session.savepoint():
            return int(session.execute(_OPEN, {"kind": kind, "owner_id": owner_id, "balance": 0}).scalar_one())
    except IntegrityError:  # on an engine with several writers, another one opened it meanwhile
        return int(session.execute(_ACCOUNT, {"kind": kind, "owner": owner_id}).scalar_one())


def balance(session: Session, account_id: int) -> int:
    """The account's balance in this transaction."""
    return int(session.execute(_BALANCE, {"account": account_id}).scalar_one())


def transfer(
    session: Session, operation: Operation, source: int, target: int, amount: int, kind: str, reference: int | None
) -> None:
    """Moves `amount` points between two accounts. Raises Conflict `insufficient-points` and then moves nothing."""
    if session.execute(_TAKE, {"account": source, "amount": amount}).one_or_none() is None:
        raise Conflict("insufficient-points", f"This takes {amount} points, more than there are.")
    session.later(_GIVE, {"account": target, "amount": amount})
    session.later(
        _TRANSFER,
        {
            "operation_id": operation.id,
            "from_id": source,
            "to_id": target,
            "amount": amount,
            "kind": kind,
            "reference": reference,
            "at_ms": operation.at_ms,
        },
    )


def mint(session: Session, operation: Operation, user_id: int, amount: int, kind: str) -> None:
    """New points for a user: the one way points come into being."""
    transfer(
        session, operation, account(session, MINT, MINT_OWNER), account(session, USER, user_id), amount, kind, user_id
    )


def statement(connection: Reader, user_id: int, limit: int, before: int) -> dict[str, Any]:
    """The user's balance and transfers, newest first; `next` continues the listing, None at its end."""
    purse = connection.execute(_PURSE, {"owner": user_id}).one()
    wanted = {"account": purse.id, "before": before, "limit": limit}
    entries = [dict(row) for row in connection.execute(_STATEMENT, wanted).mappings()]
    return {
        "balance": purse.balance,
        "entries": entries,
        "next": entries[-1]["id"] if len(entries) == limit else None,
    }
