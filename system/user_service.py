"""Signing up, logging in and out, and what users say of themselves."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from system import operations_service, points_service
from system.errors import Conflict, NotFound, Unauthorised
from system.jobs import Operation, Reply, write_job
from system.points_models import USER, PointsAccount
from system.statements import Reader, Session
from system.user_models import User, UserSession, shown_name

users: Table = User.__table__  # type: ignore[assignment]
sessions: Table = UserSession.__table__  # type: ignore[assignment]
accounts: Table = PointsAccount.__table__  # type: ignore[assignment]

WELCOME_POINTS = 1000

_SIGN_UP = insert(users).returning(users.c.id)
_LOG_IN = insert(sessions).returning(sessions.c.id)
_CREDENTIALS = select(users.c.id, users.c.password_hash).where(users.c.name == bindparam("wanted"))
_SESSION_USER = select(sessions.c.user_id).where(
    sessions.c.token_hash == bindparam("hashed"),
    sessions.c.revoked_ms.is_(None),
    sessions.c.expires_ms > bindparam("now_ms"),
)
_REVOKE = (
    update(sessions)
    .where(sessions.c.token_hash == bindparam("hashed"), sessions.c.revoked_ms.is_(None))
    .values(revoked_ms=bindparam("now_ms"))
)
_SESSION_ID = select(sessions.c.id).where(sessions.c.token_hash == bindparam("hashed"))
_PROFILE = (
    select(
        users.c.id,
        users.c.name,
        shown_name,
        users.c.bio,
        users.c.created_ms,
        accounts.c.balance.label("points"),
    )
    .select_from(users.outerjoin(accounts, (accounts.c.owner_id == users.c.id) & (accounts.c.kind == USER)))
    .where(users.c.id == bindparam("wanted"))
)
_PUBLIC = select(users.c.id, users.c.name, shown_name, users.c.bio).where(users.c.id == bindparam("wanted"))
_EDIT_NAME = update(users).where(users.c.id == bindparam("wanted")).values(display_name=bindparam("value"))
_EDIT_BIO = update(users).where(users.c.id == bindparam("wanted")).values(bio=bindparam("value"))
_REHASH = update(users).where(users.c.id == bindparam("wanted")).values(password_hash=bindparam("value"))


@write_job("users", "users", "points_transfers")
def sign_up(session: Session, operation: Operation, name: str, password_hash: str) -> Reply:
    """A new user with the welcome points. Raises Conflict `name-taken`."""
    row = {
        "operation_id": operation.id,
        "name": name,
        "display_name": name,
        "bio": "",
        "password_hash": password_hash,
        "created_ms": operation.at_ms,
    }
    try:
        user_id = int(session.execute(_SIGN_UP, row).scalar_one())
    except IntegrityError as error:
        raise Conflict("name-taken", f"The name {name} is taken.") from error
    points_service.mint(session, operation, user_id, WELCOME_POINTS, "welcome")
    operations_service.record(session, operation, "users.signed-up", user_id, name=name)
    return Reply(201, {"id": user_id, "name": name, "points": WELCOME_POINTS})


@write_job("sessions", "user_sessions")
def log_in(
    session: Session, operation: Operation, user_id: int, token_hash: str, expires_ms: int, rehashed: str | None
) -> Reply:
    """A session of the user whose token hashes to `token_hash`; `rehashed`, when given, replaces an outdated hash.

    The password was checked before.
    """
    if rehashed is not None:
        session.later(_REHASH, {"wanted": user_id, "value": rehashed})
    row = {
        "operation_id": operation.id,
        "user_id": user_id,
        "token_hash": token_hash,
        "created_ms": operation.at_ms,
        "expires_ms": expires_ms,
    }
    session_id = int(session.execute(_LOG_IN, row).scalar_one())
    operations_service.record(session, operation, "users.logged-in", session_id, user_id=user_id)
    return Reply(201, {"session_id": session_id, "user_id": user_id, "expires_ms": expires_ms})


@write_job("sessions")
def log_out(session: Session, operation: Operation, token_hash: str) -> Reply:
    """The session is revoked: its token opens nothing from now on."""
    session_id = session.execute(_SESSION_ID, {"hashed": token_hash}).scalar_one()
    session.later(_REVOKE, {"hashed": token_hash, "now_ms": operation.at_ms})
    operations_service.record(session, operation, "users.logged-out", session_id)
    return Reply(200, {"session_id": session_id, "revoked": True})


@write_job("users")
def edit_profile(session: Session, operation: Operation, display_name: str | None, bio: str | None) -> Reply:
    """What was given is changed, the rest stays. The reply is the profile as it is now."""
    wanted = operation.actor_id
    if display_name is not None:
        session.later(_EDIT_NAME, {"wanted": wanted, "value": display_name})
    if bio is not None:
        session.later(_EDIT_BIO, {"wanted": wanted, "value": bio})
    operations_service.record(session, operation, "users.edited", wanted, display_name=display_name, bio=bio)
    return Reply(200, dict(session.execute(_PROFILE, {"wanted": wanted}).mappings().one()))


def credentials(connection: Reader, name: str) -> tuple[int, str] | None:
    """Id and password hash of the user called `name`, None when nobody is."""
    row = connection.execute(_CREDENTIALS, {"wanted": name}).one_or_none()
    return None if row is None else (row[0], row[1])


def session_user(connection: Reader, token_hash: str, now_ms: int) -> int | None:
    """Whose session the token is, None when it is unknown, expired or revoked."""
    found: int | None = connection.execute(_SESSION_USER, {"hashed": token_hash, "now_ms": now_ms}).scalar_one_or_none()
    return found


def require_session(connection: Reader, token_hash: str, now_ms: int) -> int:
    """Whose session the token is. Raises Unauthorised when it is unknown, expired or revoked."""
    found = session_user(connection, token_hash, now_ms)
    if found is None:
        raise Unauthorised("session-unknown", "The session is unknown, expired or revoked; log in again.")
    return found


def profile(connection: Reader, user_id: int) -> dict[str, Any]:
    """A user as they see themselves."""
    return dict(connection.execute(_PROFILE, {"wanted": user_id}).mappings().one())


def public_profile(connection: Reader, user_id: int) -> dict[str, Any]:
    """A user as others see them. Raises NotFound."""
    row = connection.execute(_PUBLIC, {"wanted": user_id}).mappings().one_or_none()
    if row is None:
        raise NotFound("user-not-found", f"There is no user {user_id}.")
    return dict(row)


def require_users(session: Session, *user_ids: int) -> None:
    """Returns when all of them exist. Raises NotFound for the first who does not."""
    for user_id in user_ids:
        if session.execute(_PUBLIC, {"wanted": user_id}).one_or_none() is None:
            raise NotFound("user-not-found", f"There is no user {user_id}.")
