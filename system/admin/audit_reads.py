"""What was done in the admin part, newest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select

from system.admin.actions import audit
from system.statements import Reader

_PAGE = (
    select(
        audit.c.id, audit.c.at_ms, audit.c.actor, audit.c.address, audit.c.action, audit.c.subject, audit.c.detail
    )
    .where(audit.c.id < bindparam("before"))
    .order_by(audit.c.id.desc())
    .limit(bindparam("limit"))
)  # fmt: skip


def page(connection: Reader, limit: int, before: int) -> dict[str, Any]:
    """At most `limit` actions older than `before`; `next` is what to ask for then, None on the last page."""
    rows = connection.execute(_PAGE, {"limit": limit + 1, "before": before}).mappings().all()
    items = [dict(row) for row in rows[:limit]]
    return {"items": items, "next": items[-1]["id"] if len(rows) > limit else None}
