"""Admin accounts: made, given a role, a new password, or no entry any more. One admin always stays."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from system.admin import session_service, token_service
from system.admin.access import Role
from system.admin.actions import Done, admin_job
from system.admin.models import AdminAccount
from system.errors import Conflict, NotFound
from system.jobs import Operation
from system.statements import Reader, Session

accounts: Table = AdminAccount.__table__  # type: ignore[assignment]

_COLUMNS = (accounts.c.id, accounts.c.name, accounts.c.role, accounts.c.created_ms, accounts.c.disabled_ms)
_CREATE = insert(accounts).returning(accounts.c.id)
_ONE = select(*_COLUMNS).where(accounts.c.id == bindparam("wanted")).with_for_update()
_ID = select(accounts.c.id).where(accounts.c.name == bindparam("name"))
_ALL = select(*_COLUMNS).order_by(accounts.c.name)
_ADMINS = (
    select(accounts.c.id)
    .where(accounts.c.role == str(Role.ADMIN), accounts.c.disabled_ms.is_(None))
    .order_by(accounts.c.id)
    .with_for_update()  # Two admins who disable each other at once wait for each other, and the second is refused.
)
_SET_ROLE = update(accounts).where(accounts.c.id == bindparam("wanted")).values(role=bindparam("value"))
_SET_DISABLED = update(accounts).where(accounts.c.id == bindparam("wanted")).values(disabled_ms=bindparam("value"))
_SET_PASSWORD = update(accounts).where(accounts.c.id == bindparam("wanted")).values(password_hash=bindparam("value"))


@admin_job("account.created")
def create(session: Session, operation: Operation, name: str, role: str, password_hash: str) -> Done:
    """A new account. Raises Conflict `name-taken`."""
    row = {"name": name, "role": role, "password_hash": password_hash, "created_ms": operation.at_ms}
    try:
        account_id = int(session.execute(_CREATE, row).scalar_one())
    except IntegrityError as error:
        raise Conflict("name-taken", f"There is an account {name} already.") from error
    reply = {"id": account_id, "name": name, "role": role}
    return Done(f"account {name}", f"as {role}", account_id, 201, reply)


@admin_job("account.role-changed")
def change_role(session: Session, operation: Operation, account_id: int, role: str) -> Done:
    """The account has that role at its next request.

    Whoever may less than before is signed out, and what tokens they made as an admin end. Raises NotFound, or Conflict for
    the last admin.
    """
    account = _account(session, account_id)
    if account["role"] == role:
        raise Conflict("role-unchanged", f"{account['name']} is {role} already.")
    if not Role(role).covers(Role(account["role"])):
        _leave_an_admin(session, account)
        _end(session, operation, account_id)
    session.execute(_SET_ROLE, {"wanted": account_id, "value": role})
    reply = {"id": account_id, "name": account["name"], "role": role}
    return Done(f"account {account['name']}", f"from {account['role']} to {role}", account_id, reply=reply)


@admin_job("account.disabled")
def disable(session: Session, operation: Operation, account_id: int) -> Done:
    """Nobody signs in to the account any more; its sessions and tokens have ended.

    Raises NotFound, or Conflict for the last admin and for an account that is disabled already.
    """
    account = _account(session, account_id)
    if account["disabled_ms"] is not None:
        raise Conflict("account-disabled", f"{account['name']} is disabled already.")
    _leave_an_admin(session, account)
    session.execute(_SET_DISABLED, {"wanted": account_id, "value": operation.at_ms})
    _end(session, operation, account_id)
    return Done(f"account {account['name']}", "", account_id, reply={"id": account_id, "name": account["name"]})


@admin_job("account.enabled")
def enable(session: Session, operation: Operation, account_id: int) -> Done:  # noqa: ARG001  # what every job takes
    """The account may sign in again, with its old password. Raises NotFound, and Conflict when it may already."""
    account = _account(session, account_id)
    if account["disabled_ms"] is None:
        raise Conflict("account-enabled", f"{account['name']} is not disabled.")
    session.execute(_SET_DISABLED, {"wanted": account_id, "value": None})
    return Done(f"account {account['name']}", "", account_id, reply={"id": account_id, "name": account["name"]})


@admin_job("account.password-set")
def set_password(
    session: Session, operation: Operation, account_id: int, password_hash: str, keeping: int | None
) -> Done:
    """The account has that password, and every session but `keeping` has ended. Raises NotFound."""
    account = _account(session, account_id)
    session.execute(_SET_PASSWORD, {"wanted": account_id, "value": password_hash})
    session_service.end_all(session, operation, account_id, keeping)
    return Done(f"account {account['name']}", "", account_id, reply={"id": account_id, "name": account["name"]})


def listing(connection: Reader) -> list[dict[str, Any]]:
    """Every account, by name."""
    return [dict(row) for row in connection.execute(_ALL).mappings().all()]


def account_id(connection: Reader, name: str) -> int:
    """The id of the account called that. Raises NotFound."""
    found: int | None = connection.execute(_ID, {"name": name}).scalar_one_or_none()
    if found is None:
        raise NotFound("account-not-found", f"There is no account {name}.")
    return found


def _account(session: Session, wanted: int) -> dict[str, Any]:
    row = session.execute(_ONE, {"wanted": wanted}).mappings().one_or_none()
    if row is None:
        raise NotFound("account-not-found", f"There is no account {wanted}.")
    return dict(row)


def _leave_an_admin(session: Session, account: dict[str, Any]) -> None:
    admins = session.execute(_ADMINS).scalars().all()
    if admins == [account["id"]]:
        raise Conflict("last-admin", f"{account['name']} is the only admin left; make another one first.")


def _end(session: Session, operation: Operation, account: int) -> None:
    session_service.end_all(session, operation, account, None)
    token_service.end_all(session, operation, account)
