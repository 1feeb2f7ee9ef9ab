"""What happened on the platform until this moment: the minutes that are counted already, and what came since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from system.operations_service import activity
from system.reporting.events import MINUTE_MS, last_counted
from system.reporting.rollups import HOUR_S, MINUTE_S, events
from system.user_models import User, shown_name

LOOKED_THROUGH = 500
"""Newest entries among which those of a few kinds are looked for: there is no index of kind and time."""
UNCOUNTED_MS = 5 * MINUTE_MS
"""How far back is counted here at most, when nobody has counted the minutes."""
LONG_MS = 12 * 3_600_000

users = User.__table__
_NEWEST = (
    select(activity.c.at_ms, activity.c.kind, activity.c.actor_id, activity.c.subject_id, shown_name)
    .outerjoin(users, users.c.id == activity.c.actor_id)
    .order_by(activity.c.id.desc())
)


def totals(connection: Connection, from_ms: int, to_ms: int) -> Mapping[str, int]:
    """How often each kind of thing happened in between, up to this moment.

    Of a long time the sums of whole hours are read, so that it begins with one.
    """
    width_s = HOUR_S if to_ms - from_ms > LONG_MS else MINUTE_S
    begin_ms = from_ms // (width_s * 1000) * width_s * 1000
    last_ms = last_counted(connection)
    counted_ms = max(to_ms - UNCOUNTED_MS, last_ms + MINUTE_MS if last_ms is not None else 0)
    summed = connection.execute(
        select(events.c.name, func.sum(events.c.happened))
        .where(events.c.width_s == width_s, events.c.start_ms >= begin_ms, events.c.start_ms < min(to_ms, counted_ms))
        .group_by(events.c.name)
    )
    found = Counter({name: int(count) for name, count in summed})
    if counted_ms < to_ms:
        since = connection.execute(
            select(activity.c.kind, func.count())
            .where(activity.c.at_ms >= max(from_ms, counted_ms), activity.c.at_ms < to_ms)
            .group_by(activity.c.kind)
        )
        found.update({kind: int(count) for kind, count in since})
    return found


def newest(connection: Connection, kinds: Sequence[str], user: int | None, limit: int) -> list[dict[str, Any]]:
    """The newest things of those kinds, by that user or by anybody."""
    asked = _NEWEST.limit(LOOKED_THROUGH)
    if user is not None:
        asked = asked.where(activity.c.actor_id == user)
    rows = [dict(row) for row in connection.execute(asked).mappings()]
    return [row for row in rows if row["kind"].startswith(tuple(kinds))][:limit]


def active(connection: Connection, since_ms: int) -> int:
    """How many users have done something since."""
    actor = activity.c.actor_id + 0  # No index knows it so: SQLite would read that of all actors to tell them apart.
    found: int = connection.execute(
        select(func.count(actor.distinct())).where(activity.c.at_ms >= since_ms)
    ).scalar_one()
    return found


def ids_within(connection: Connection, from_ms: int, to_ms: int) -> tuple[int, int]:
    """The ids of the oldest and of the newest thing in between, which bound those of all others; (1, 0) without any.

    Ids are given in the order of commits, instants in the order of requests, so at its ends a few may be missed.
    """
    within = (activity.c.at_ms >= from_ms, activity.c.at_ms < to_ms)
    ends = [
        connection.execute(select(activity.c.id).where(*within).order_by(order).limit(1)).scalar_one_or_none()
        for order in (activity.c.at_ms, activity.c.at_ms.desc())
    ]
    oldest, newest = ends
    return (1, 0) if oldest is None or newest is None else (oldest, newest)
