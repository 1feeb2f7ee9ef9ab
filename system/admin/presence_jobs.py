"""When a session was last seen and a token last used: small writes, at most one a minute each, and no operations."""

from __future__ import annotations

from sqlalchemy import bindparam, update

from system.admin.actions import DOMAIN
from system.admin.session_service import sessions
from system.admin.token_service import tokens
from system.jobs import NOTHING_HAPPENED, Operation, Reply, write_job
from system.statements import Session

EVERY_MS = 60_000

_SEEN = (
    update(sessions)
    .where(sessions.c.id == bindparam("wanted"), sessions.c.seen_ms < bindparam("now_ms"))
    .values(seen_ms=bindparam("now_ms"))
)
_USED = update(tokens).where(tokens.c.id == bindparam("wanted")).values(used_ms=bindparam("now_ms"))


@write_job(DOMAIN)
def session_seen(session: Session, operation: Operation, session_id: int) -> Reply:
    """The session was in use at the operation's instant."""
    session.execute(_SEEN, {"wanted": session_id, "now_ms": operation.at_ms})
    return NOTHING_HAPPENED


@write_job(DOMAIN)
def token_used(session: Session, operation: Operation, token_id: int) -> Reply:
    """The token was in use at the operation's instant."""
    session.execute(_USED, {"wanted": token_id, "now_ms": operation.at_ms})
    return NOTHING_HAPPENED
