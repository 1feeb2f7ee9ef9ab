"""Admin sessions: begun by a log-in, in force until they are revoked, idle or too old, and asked for at every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, bindparam, insert, select, update

from system.admin.access import Person, Role
from system.admin.actions import Done, admin_job
from system.admin.models import AdminAccount, AdminSession
from system.errors import NotFound, Unauthorised
from system.jobs import Operation
from system.statements import Reader, Session

accounts: Table = AdminAccount.__table__  # type: ignore[assignment]
sessions: Table = AdminSession.__table__  # type: ignore[assignment]

FAMILIAR_MS = 180 * 24 * 3_600_000
"""Where an account has logged in within this time it is at home."""
LISTED = 200

_in_force = (
    sessions.c.revoked_ms.is_(None),
    sessions.c.expires_ms > bindparam("now_ms"),
    sessions.c.seen_ms > bindparam("idle_ms"),
    accounts.c.disabled_ms.is_(None),
)
_of_account = sessions.join(accounts, accounts.c.id == sessions.c.account_id)
_HOLDER = (
    select(accounts.c.id, accounts.c.name, accounts.c.role, sessions.c.id.label("session_id"), sessions.c.seen_ms)
    .select_from(_of_account)
    .where(sessions.c.token_hash == bindparam("hashed"), *_in_force)
)
_CREDENTIALS = select(accounts.c.id, accounts.c.password_hash).where(
    accounts.c.name == bindparam("name"), accounts.c.disabled_ms.is_(None)
)
_FAMILIAR = (
    select(sessions.c.id)
    .select_from(_of_account)
    .where(
        accounts.c.name == bindparam("name"),
        sessions.c.network == bindparam("network"),
        sessions.c.created_ms > bindparam("since_ms"),
    )
    .limit(1)
)
_STILL = (
    select(accounts.c.name)
    .where(
        accounts.c.id == bindparam("wanted"),
        accounts.c.password_hash == bindparam("known"),
        accounts.c.disabled_ms.is_(None),
    )
    .with_for_update()
)
_REHASH = update(accounts).where(accounts.c.id == bindparam("wanted")).values(password_hash=bindparam("value"))
_BEGIN = insert(sessions).returning(sessions.c.id)
_END_OLD = (
    update(sessions)
    .where(sessions.c.token_hash == bindparam("hashed"), sessions.c.revoked_ms.is_(None))
    .values(revoked_ms=bindparam("now_ms"))
)
_LISTED = (
    select(
        sessions.c.id, sessions.c.account_id, accounts.c.name, sessions.c.network, sessions.c.agent,
        sessions.c.created_ms, sessions.c.seen_ms, sessions.c.expires_ms,
    )
    .select_from(_of_account)
    .order_by(sessions.c.seen_ms.desc(), sessions.c.id.desc())
    .limit(LISTED)
)  # fmt: skip
_LIST_ALL = _LISTED.where(*_in_force)
_LIST_OWN = _LIST_ALL.where(sessions.c.account_id == bindparam("account"))
_ONE = (
    select(sessions.c.id, sessions.c.account_id, accounts.c.name)
    .select_from(_of_account)
    .where(sessions.c.id == bindparam("wanted"), sessions.c.revoked_ms.is_(None))
)
_END = update(sessions).where(sessions.c.id == bindparam("wanted")).values(revoked_ms=bindparam("now_ms"))
_END_ALL = (
    update(sessions)
    .where(
        sessions.c.account_id == bindparam("account"),
        sessions.c.revoked_ms.is_(None),
        sessions.c.id != bindparam("keeping"),
    )
    .values(revoked_ms=bindparam("now_ms"))
)
_NONE = 0


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a log-in is held against. `familiar` when the account has logged in from that network before."""

    account_id: int | None
    password_hash: str | None
    familiar: bool


@admin_job("session.begun")
def begin(
    session: Session,
    operation: Operation,
    account_id: int,
    known: str,
    token_hash: str,
    network: str,
    agent: str,
    expires_ms: int,
    rehashed: str | None,
    former: str | None,
) -> Done:
    """A session whose token hashes to `token_hash`; the one that the same browser had before, `former`, has ended.

    The password was checked before against `known`. Raises Unauthorised when that is not the account's any more, or the
    account was disabled meanwhile.
    """
    name = session.execute(_STILL, {"wanted": account_id, "known": known}).scalar_one_or_none()
    if name is None:
        raise Unauthorised("wrong-credentials", "The name or the password is wrong.")
    if former is not None:
        session.execute(_END_OLD, {"hashed": former, "now_ms": operation.at_ms})
    if rehashed is not None:
        session.execute(_REHASH, {"wanted": account_id, "value": rehashed})
    row = {
        "account_id": account_id,
        "token_hash": token_hash,
        "network": network,
        "agent": agent,
        "created_ms": operation.at_ms,
        "seen_ms": operation.at_ms,
        "expires_ms": expires_ms,
    }
    session_id = int(session.execute(_BEGIN, row).scalar_one())
    return Done(f"session {session_id} of {name}", "", session_id, 201, {"session_id": session_id})


@admin_job("session.revoked")
def revoke(session: Session, operation: Operation, session_id: int, owner: int | None) -> Done:
    """The session opens nothing from now on. With `owner` it has to be theirs. Raises NotFound."""
    row = session.execute(_ONE, {"wanted": session_id}).mappings().one_or_none()
    if row is None or owner not in (None, row["account_id"]):
        raise NotFound("session-not-found", f"There is no session {session_id} that you could revoke.")
    session.execute(_END, {"wanted": session_id, "now_ms": operation.at_ms})
    return Done(f"session {session_id} of {row['name']}", "", session_id)


@admin_job("session.others-revoked")
def revoke_others(session: Session, operation: Operation, account_id: int, keeping: int) -> Done:
    """Of the account's sessions only `keeping` is left."""
    ended = end_all(session, operation, account_id, keeping)
    return Done(f"account {account_id}", f"{ended} ended, session {keeping} kept", account_id)


def end_all(session: Session, operation: Operation, account_id: int, keeping: int | None) -> int:
    """Every session of the account has ended, but for `keeping`; how many those were."""
    given = {"account": account_id, "keeping": keeping or _NONE, "now_ms": operation.at_ms}
    return int(session.execute(_END_ALL, given).rowcount)


def holder(connection: Reader, token_hash: str, now_ms: int, idle_ms: int) -> tuple[Person, int] | None:
    """Whose session that is, and when it was last seen; None when it is not in force."""
    given = {"hashed": token_hash, "now_ms": now_ms, "idle_ms": now_ms - idle_ms}
    row = connection.execute(_HOLDER, given).mappings().one_or_none()
    if row is None:
        return None
    return Person(row["id"], row["name"], Role(row["role"]), row["session_id"]), row["seen_ms"]


def credentials(connection: Reader, name: str, network: str, now_ms: int) -> Credentials:
    """What is known of the account of that name, without a word on whether there is one."""
    row = connection.execute(_CREDENTIALS, {"name": name}).one_or_none()
    given = {"name": name, "network": network, "since_ms": now_ms - FAMILIAR_MS}
    familiar = connection.execute(_FAMILIAR, given).first() is not None
    account_id, known = row or (None, None)
    return Credentials(account_id, known, familiar)


def listing(connection: Reader, account_id: int | None, now_ms: int, idle_ms: int) -> list[dict[str, Any]]:
    """The sessions in force, the newest seen first: of that account, or of all."""
    given = {"now_ms": now_ms, "idle_ms": now_ms - idle_ms}
    if account_id is None:
        return [dict(row) for row in connection.execute(_LIST_ALL, given).mappings().all()]
    return [dict(row) for row in connection.execute(_LIST_OWN, given | {"account": account_id}).mappings().all()]
