"""Admin accounts by whoever holds the database itself: how the first one is made, and the way back in.

The same jobs as from the pages, in a transaction of their own beside the service's, with the same line in the audit log.
"""

from __future__ import annotations

import getpass
import time
from typing import Any

import msgspec
from sqlalchemy.exc import DBAPIError

from system.admin import account_service
from system.admin.actions import By, operation
from system.admin.credentials import checked_name, checked_password, checked_role
from system.apply import apply
from system.database import SessionLocal, engine_for, shown
from system.errors import ServiceError
from system.failpoints import Failpoints
from system.jobs import Job
from system.passwords import HASHER
from system.schema import SchemaTrouble, check_schema
from system.wire import Ask

ADDRESS = "command line"


class Refused(Exception):
    """Nothing was changed: one sentence saying why."""

    exit_code = 1


def create(url: str, name: str, role: str, password: str) -> dict[str, Any]:
    """A new account. Raises Invalid, Refused or SchemaTrouble."""
    checked_name(name)
    return _apply(url, account_service.create, name, str(checked_role(role)), HASHER.hash(checked_password(password)))


def accounts(url: str) -> list[dict[str, Any]]:
    """Every account, by name. Raises SchemaTrouble."""
    found: list[dict[str, Any]] = _read(url, account_service.listing)
    return found


def disable(url: str, name: str) -> dict[str, Any]:
    """The account's sessions and tokens have ended, and nobody signs in to it. Raises Refused or SchemaTrouble."""
    return _apply(url, account_service.disable, _id(url, name))


def enable(url: str, name: str) -> dict[str, Any]:
    """The account may sign in again. Raises Refused or SchemaTrouble."""
    return _apply(url, account_service.enable, _id(url, name))


def reset_password(url: str, name: str, password: str) -> dict[str, Any]:
    """The account has that password, and no session any more. Raises Invalid, Refused or SchemaTrouble."""
    hashed = HASHER.hash(checked_password(password))
    return _apply(url, account_service.set_password, _id(url, name), hashed, None)


def _id(url: str, name: str) -> int:
    try:
        return int(_read(url, account_service.account_id, name))
    except ServiceError as error:
        raise Refused(error.message) from error


def _read(url: str, function: Any, *args: Any) -> Any:
    check_schema(url)
    engine = engine_for(url, pooled=False)
    try:
        with SessionLocal(bind=engine) as session:
            return function(session, *args)
    except DBAPIError as error:
        raise _trouble(url, error) from error
    finally:
        engine.dispose()


def _apply(url: str, job: Job, *args: Any) -> dict[str, Any]:
    check_schema(url)
    by = By(f"{getpass.getuser()} at the console"[:80], ADDRESS)
    ask = Ask(0, job.name, (by.plain(), *args), operation(time.time_ns() // 1_000_000), float("inf"))
    # A log that is being shipped is checkpointed by whoever ships it, so never from here.
    engine = engine_for(url, writer=True, pooled=False, shipped=True)
    try:
        with SessionLocal(bind=engine) as session:
            answer = apply(session, ask, Failpoints(None), lambda: None)
            session.commit()
    except ServiceError as error:
        raise Refused(error.message) from error
    except DBAPIError as error:
        raise _trouble(url, error) from error
    finally:
        engine.dispose()
    decoded: dict[str, Any] = msgspec.json.decode(answer.body)
    return decoded


def _trouble(url: str, error: DBAPIError) -> SchemaTrouble:
    """What the database said, without what it was asked: that could hold a password's hash."""
    said = " ".join(str(error.orig).split()).rstrip(".")
    if "admin_" in said:
        return SchemaTrouble(
            f"The database {shown(url)} has no room for admin accounts yet; run `gymkhana migrate up`."
        )
    return SchemaTrouble(f"The database {shown(url)} could not be used ({said}); nothing was changed.")
