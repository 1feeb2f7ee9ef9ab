"""The service as it was before display names: what the revisions after 0001 have to leave alone.

It is today's code without what came with them: no statement of it names the column, and it knows no schema but the first.
`python -m ci.former` runs it like the supervisor.
"""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from system import operations_service, points_service, schema, tournament_reads, user_service
from system.errors import Conflict
from system.jobs import JOBS, Job, Operation, Reply
from system.points_models import USER
from system.statements import Session
from system.user_service import WELCOME_POINTS, accounts, users

REVISION = "0001"
SERVICE = "ci.former"

_SIGN_UP = insert(users).returning(users.c.id)
_KNOWN = (users.c.id, users.c.name, users.c.bio)


def sign_up(session: Session, operation: Operation, name: str, password_hash: str) -> Reply:
    """As `user_service.sign_up`, which had no display name to write."""
    row = {
        "operation_id": operation.id,
        "name": name,
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


def forget() -> None:
    """From now on this process is the older version, which kept no records."""
    os.environ["GYM_RECORDS"] = "false"
    replaced: dict[tuple[Any, str], Any] = {
        (schema, "SCHEMA_REVISION"): REVISION,
        (schema, "OLDEST_SCHEMA"): REVISION,
        (user_service, "_PROFILE"): (
            select(*_KNOWN, users.c.created_ms, accounts.c.balance.label("points"))
            .select_from(users.outerjoin(accounts, (accounts.c.owner_id == users.c.id) & (accounts.c.kind == USER)))
            .where(users.c.id == bindparam("wanted"))
        ),
        (user_service, "_PUBLIC"): select(*_KNOWN).where(users.c.id == bindparam("wanted")),
        (user_service, "_EDIT_NAME"): None,
        (tournament_reads, "_ENTRANTS"): (
            select(tournament_reads.entries.c.user_id, users.c.name.label("display_name"))
            .join(users, users.c.id == tournament_reads.entries.c.user_id)
            .where(tournament_reads.entries.c.tournament_id == bindparam("wanted"))
            .order_by(tournament_reads.entries.c.id)
        ),
    }
    for (module, name), older in replaced.items():
        getattr(module, name)  # what it replaces is there, or this is no older version of anything
        setattr(module, name, older)
    JOBS[user_service.sign_up.name] = Job(sign_up, "users", user_service.sign_up.name, user_service.sign_up.leaves)
