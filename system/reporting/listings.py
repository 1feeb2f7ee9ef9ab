"""The records as they are read: newest first, a page at a time by the last row's key; by who, what and how it ended.

A page is found in an index and never counted off: rows that arrive meanwhile are newer, so none is skipped or shown twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, func, literal_column, select, tuple_

from system.admin.models import AdminAction
from system.errors import Invalid
from system.notification_service import attempts as deliveries
from system.reporting.cursors import Position, cursor, position
from system.reporting.record_jobs import errors, health, requested
from system.shapes import ID_MAX

Row = dict[str, Any]
actions: Table = AdminAction.__table__  # type: ignore[assignment]
_STATUSES = {
    "1xx": "status >= 100 AND status < 200",
    "2xx": "status >= 200 AND status < 300",
    "3xx": "status >= 300 AND status < 400",
    "4xx": "status >= 400 AND status < 500",
    "5xx": "status >= 500",
}
"""Word for word as the partial indexes have them: one with a parameter in it would never be found to imply theirs."""


@dataclass(frozen=True, slots=True)
class Record:
    """One kind of record: its table, the column that orders it, and what it may be asked by."""

    name: str
    table: Table
    at: Column[Any]
    statuses: Mapping[str, str]
    until: Column[Any]
    """The end of what a row speaks of: the same instant, or an error's last one."""
    rare: str = ""
    """A status that so few rows have that they are looked through for a kind, and not the kind for them."""
    who: str = "user_id"
    what: str = "kind"
    """The columns that `user` and `kind` are asked of, where there are such."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What is shown of a row, in this order."""
        return tuple(column.name for column in self.table.columns)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a listing is asked for; what is None does not matter. Times are in milliseconds, `to_ms` not included."""

    user: int | None = None
    kind: str | None = None
    status: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    told: tuple[object, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "told", (self.user, self.kind, self.status, self.from_ms, self.to_ms))


RECORDS = {
    record.name: record
    for record in (
        Record("activity", requested, requested.c.at_ms, _STATUSES, requested.c.at_ms),
        Record("errors", errors, errors.c.first_ms, _STATUSES, errors.c.last_ms),
        Record(
            "deliveries", deliveries, deliveries.c.at_ms,
            {"delivered": "outcome = 'delivered'", "failed": "outcome = 'failed'"}, deliveries.c.at_ms,
            rare="failed",
        ),
        Record(
            "health", health, health.c.at_ms,
            {one: f"status = '{one}'" for one in ("pass", "warn", "fail")}, health.c.at_ms,
        ),
        Record("audit", actions, actions.c.at_ms, {}, actions.c.at_ms, who="account_id", what="action"),
    )
}  # fmt: skip


def filters_of(
    record: Record, user: int | None, kind: str | None, status: str | None, start: str | None, end: str | None
) -> Filters:
    """What was asked for, checked. Raises Invalid when the record has no such thing, or a time is no RFC 3339."""
    asked = (
        ("user", user, record.who in record.table.c),
        ("kind", kind, record.what in record.table.c),
        ("status", status, bool(record.statuses)),
    )
    for name, value, known in asked:
        if value is not None and not known:
            raise Invalid("parameter-invalid", f"The parameter {name}: {record.name} cannot be asked for by it.")
    if status is not None and status not in record.statuses:
        raise Invalid("parameter-invalid", f"The parameter status: it is one of {', '.join(record.statuses)}.")
    return Filters(user, kind, status, instant_ms("from", start), instant_ms("to", end))


def instant_ms(name: str, text: str | None) -> int | None:
    """The instant in milliseconds since the epoch. Raises Invalid for what is no RFC 3339 with an offset."""
    if text is None:
        return None
    try:
        # A plus in a query that was not encoded arrives as a blank.
        told = datetime.fromisoformat(text.replace(" ", "+") if text.count(" ") == 1 and "T" in text else text)
        if told.tzinfo is None:
            raise ValueError(text)
        return int((told - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
    except (ValueError, OverflowError) as error:
        raise Invalid(
            "parameter-invalid", f"The parameter {name}: write an instant like 2026-11-23T09:00:00Z."
        ) from error


def page(connection: Connection, record: Record, filters: Filters, limit: int, after: Position | None) -> list[Row]:
    """At most `limit` rows after the position, newest first."""
    rows = connection.execute(_asked(record, filters, limit, after)).mappings()
    return [dict(row) for row in rows]


def listing(connection: Connection, record: Record, filters: Filters, limit: int, after: str | None) -> Row:
    """A page under the record's name, and `next` to go on with, None at the end. Raises Invalid for a wrong cursor."""
    names = (record.name, *filters.told)
    rows = page(connection, record, filters, limit, position(after, names) if after else None)
    going_on = cursor(place_of(record, rows[-1]), names) if len(rows) == limit else None
    return {record.name: rows, "next": going_on}


def place_of(record: Record, row: Row) -> Position:
    """Where the listing goes on after that row."""
    return Position(row[record.at.name], row["id"])


def _asked(record: Record, filters: Filters, limit: int, after: Position | None) -> Select[Any]:
    key = (record.at, record.table.c.id)
    # A bound on the first page too: without one SQLite takes the index of a kind for that of a kind's few failures.
    before = tuple_(*key) < tuple_(*((after.at_ms, after.id) if after else (ID_MAX, ID_MAX)))
    asked = select(record.table).where(*_conditions(record, filters), before)
    return asked.order_by(*(column.desc() for column in key)).limit(limit)


def _conditions(record: Record, filters: Filters) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if filters.user is not None:
        found.append(record.table.c[record.who] == filters.user)
    if filters.kind is not None:
        kind: ColumnElement[Any] = record.table.c[record.what]
        if filters.user is not None or filters.status == record.rare:
            kind = func.coalesce(kind, "")  # No index knows it so: one user's rows are far fewer than one kind's.
        found.append(kind == filters.kind)
    if filters.status is not None:
        found.append(literal_column(f"({record.statuses[filters.status]})"))
    if filters.from_ms is not None:
        found.append(record.until >= filters.from_ms)
    if filters.to_ms is not None:
        found.append(record.at < filters.to_ms)
    return found
