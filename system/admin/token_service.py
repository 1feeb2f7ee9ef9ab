"""API tokens: made by an admin for a machine, with scopes and an end, and revoked at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, bindparam, insert, select, update

from system.admin.access import Machine
from system.admin.actions import Done, admin_job
from system.admin.models import AdminAccount, AdminToken
from system.errors import NotFound
from system.jobs import Operation
from system.statements import Reader, Session

accounts: Table = AdminAccount.__table__  # type: ignore[assignment]
tokens: Table = AdminToken.__table__  # type: ignore[assignment]

LISTED = 200

_CREATE = insert(tokens).returning(tokens.c.id)
_BEARER = select(tokens.c.id, tokens.c.name, tokens.c.scopes, tokens.c.used_ms).where(
    tokens.c.token_hash == bindparam("hashed"),
    tokens.c.revoked_ms.is_(None),
    tokens.c.expires_ms > bindparam("now_ms"),
)
_LIST = (
    select(
        tokens.c.id, tokens.c.name, tokens.c.scopes, accounts.c.name.label("maker"), tokens.c.created_ms,
        tokens.c.expires_ms, tokens.c.used_ms,
    )
    .select_from(tokens.join(accounts, accounts.c.id == tokens.c.account_id))
    .where(tokens.c.revoked_ms.is_(None))
    .order_by(tokens.c.id.desc())
    .limit(LISTED)
)  # fmt: skip
_ONE = select(tokens.c.name).where(tokens.c.id == bindparam("wanted"), tokens.c.revoked_ms.is_(None))
_END = update(tokens).where(tokens.c.id == bindparam("wanted")).values(revoked_ms=bindparam("now_ms"))
_END_ALL = (
    update(tokens)
    .where(tokens.c.account_id == bindparam("account"), tokens.c.revoked_ms.is_(None))
    .values(revoked_ms=bindparam("now_ms"))
)


@admin_job("token.created")
def create(
    session: Session,
    operation: Operation,
    account_id: int,
    name: str,
    token_hash: str,
    scopes: Sequence[str],
    expires_ms: int,
) -> Done:
    """A token of that name, for those scopes until then."""
    row = {
        "account_id": account_id,
        "name": name,
        "token_hash": token_hash,
        "scopes": " ".join(scopes),
        "created_ms": operation.at_ms,
        "expires_ms": expires_ms,
    }
    token_id = int(session.execute(_CREATE, row).scalar_one())
    return Done(f"token {token_id} ({name})", f"for {', '.join(scopes)}", token_id, 201, {"id": token_id})


@admin_job("token.revoked")
def revoke(session: Session, operation: Operation, token_id: int) -> Done:
    """The token opens nothing from now on. Raises NotFound."""
    name = session.execute(_ONE, {"wanted": token_id}).scalar_one_or_none()
    if name is None:
        raise NotFound("token-not-found", f"There is no token {token_id} that could be revoked.")
    session.execute(_END, {"wanted": token_id, "now_ms": operation.at_ms})
    return Done(f"token {token_id} ({name})", "", token_id)


def end_all(session: Session, operation: Operation, account_id: int) -> None:
    """Every token that the account made has ended."""
    session.execute(_END_ALL, {"account": account_id, "now_ms": operation.at_ms})


def bearer(connection: Reader, token_hash: str, now_ms: int) -> tuple[Machine, int | None] | None:
    """Whose token that is, and when it was last used; None when it is not in force."""
    row = connection.execute(_BEARER, {"hashed": token_hash, "now_ms": now_ms}).mappings().one_or_none()
    if row is None:
        return None
    return Machine(row["id"], row["name"], frozenset(row["scopes"].split())), row["used_ms"]


def listing(connection: Reader) -> list[dict[str, Any]]:
    """The tokens that were not revoked, newest first; those that have expired among them."""
    return [dict(row) | {"scopes": row["scopes"].split()} for row in connection.execute(_LIST).mappings().all()]
