"""What was said about alerts, in the audit log; the words themselves lie in a file, which needs no database."""

from __future__ import annotations

from system.admin.actions import Done, admin_job
from system.jobs import Operation
from system.statements import Session


@admin_job("alert.acknowledged")
def acknowledged(_session: Session, _operation: Operation, name: str, why: str) -> Done:
    """Somebody looks after that alert."""
    return Done(f"alert {name}", why)


@admin_job("alert.silenced")
def silenced(_session: Session, _operation: Operation, alerts: str, lasting: str, why: str) -> Done:
    """Nobody is told of those alerts for so long."""
    return Done(alerts, f"for {lasting}. {why}".strip())


@admin_job("alert.unsilenced")
def unsilenced(_session: Session, _operation: Operation, silence: str) -> Done:
    """The silence ends."""
    return Done(f"silence {silence}")
