"""Write jobs of the admin part: each leaves its line in the audit log, in the transaction that does what it says.

A room that changes something declares its job here, says what it did, and cannot forget the line:

    @admin_job("alert.silenced")
    def silence(session, operation, alert_id) -> Done:
        ...
        return Done(f"alert {alert_id}", reply={"id": alert_id})
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Concatenate

from sqlalchemy import Table, insert

from system import operations_service
from system.admin.models import AdminAction
from system.jobs import Job, Operation, Reply, write_job
from system.statements import Session

audit: Table = AdminAction.__table__  # type: ignore[assignment]

DOMAIN = "admin"
_APPEND = insert(audit)


@dataclass(frozen=True, slots=True)
class By:
    """Who does something and from where, as it will stand in the audit log."""

    name: str
    address: str
    account_id: int | None = None
    token_id: int | None = None

    def plain(self) -> dict[str, Any]:
        """The same as a job takes it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Done:
    """What a job did: on what, in which detail, and what it answers. None of it may hold a secret."""

    subject: str
    detail: str = ""
    subject_id: int | None = None
    status: int = 200
    reply: Mapping[str, Any] = field(default_factory=dict)


def admin_job(action: str) -> Callable[[Callable[Concatenate[Session, Operation, ...], Done]], Job]:
    """Registers `(session, operation, *plain arguments) -> Done` as a write job, called with `By.plain()` before those."""

    def register(function: Callable[Concatenate[Session, Operation, ...], Done]) -> Job:
        @functools.wraps(function)
        def recorded(session: Session, operation: Operation, by: dict[str, Any], *args: Any) -> Reply:
            done = function(session, operation, *args)
            row = {
                "operation_id": operation.id,
                "at_ms": operation.at_ms,
                "actor": by["name"],
                "account_id": by["account_id"],
                "token_id": by["token_id"],
                "address": by["address"],
                "action": action,
                "subject": done.subject,
                "detail": done.detail,
            }
            session.execute(_APPEND, row)
            operations_service.record(session, operation, f"admin.{action}", done.subject_id)
            return Reply(done.status, dict(done.reply))

        return write_job(DOMAIN)(recorded)

    return register


def operation(now_ms: int) -> Operation:
    """The operation of an admin action: the service's own, as no user asked for it."""
    return Operation(f"system.admin.{uuid.uuid4()}", "system", None, "", now_ms)
