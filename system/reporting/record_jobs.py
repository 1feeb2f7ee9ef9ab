"""The write jobs of the records: each fills one table, with many rows at once, and leaves no operation behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Insert, Table, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import text

from system.jobs import NOTHING_HAPPENED, RECORDS, Operation, Reply, write_job
from system.reporting.record_models import ErrorRecord, HealthRecord, RequestRecord
from system.reporting.rollups import KEY, SUMS, WIDTHS_S, events, requests
from system.statements import Session

DOMAIN = RECORDS
"""The bulkhead of all of them: half of the lane at most, and in fact one job of each at a time."""

requested: Table = RequestRecord.__table__  # type: ignore[assignment]
errors: Table = ErrorRecord.__table__  # type: ignore[assignment]
health: Table = HealthRecord.__table__  # type: ignore[assignment]

ERROR = (
    "fingerprint", "kind", "code", "place", "status", "message", "request_id", "count", "first_ms", "last_ms",
)  # fmt: skip
REQUEST_ID, COUNT, FIRST_MS, LAST_MS = (ERROR.index(name) for name in ("request_id", "count", "first_ms", "last_ms"))
HEALTH = ("at_ms", "worker", "status", "output")

_REQUESTS = {
    "sqlite": text("""
INSERT INTO request_records (at_ms, user_id, kind, status, took_us, request_id, operation_id)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 FROM json_each(:rows)
"""),
    "postgresql": text("""
INSERT INTO request_records (at_ms, user_id, kind, status, took_us, request_id, operation_id)
SELECT CAST(r ->> 0 AS bigint), CAST(r ->> 1 AS bigint), r ->> 2, CAST(r ->> 3 AS bigint), CAST(r ->> 4 AS bigint),
       r ->> 5, r ->> 6
FROM json_array_elements(CAST(:rows AS json)) AS given(r)
"""),
}
"""One statement for all of them, which takes two thirds of the time on SQLite, and one message on PostgreSQL."""
_HEALTH = insert(health)


@write_job(DOMAIN)
def keep_requests(session: Session, _operation: Operation, rows: Sequence[Sequence[Any]]) -> Reply:
    """The requests are recorded once this is committed."""
    session.execute(_REQUESTS[session.get_bind().dialect.name], {"rows": msgspec.json.encode(rows).decode()})
    return NOTHING_HAPPENED


@write_job(DOMAIN)
def keep_errors(session: Session, _operation: Operation, rows: Sequence[Sequence[Any]]) -> Reply:
    """Each group is counted on, and says what it said last. In the order of fingerprints, so that two cannot deadlock."""
    session.execute(_upsert(session, _ERRORS), _named(ERROR, rows))
    return NOTHING_HAPPENED


@write_job(DOMAIN)
def keep_health(session: Session, _operation: Operation, rows: Sequence[Sequence[Any]]) -> Reply:
    """The process's standings are recorded once this is committed."""
    session.execute(_HEALTH, _named(HEALTH, rows))
    return NOTHING_HAPPENED


@write_job(DOMAIN)
def add_rollups(session: Session, _operation: Operation, rows: Sequence[Sequence[Any]]) -> Reply:
    """The sums have grown by these rows."""
    session.execute(_upsert(session, _SUMS), _named((*KEY, *SUMS), rows))
    return NOTHING_HAPPENED


@write_job(DOMAIN)
def set_events(session: Session, _operation: Operation, start_ms: int, counted: Sequence[Sequence[Any]]) -> Reply:
    """What happened in the minute that begins then is as counted, and its hour is the sum of its minutes.

    Counting a minute again changes nothing, so whoever does not know whether it was counted may count it.
    """
    minute_s, hour_s = WIDTHS_S
    rows = [[minute_s, start_ms, *one] for one in counted]
    session.execute(_upsert(session, _EVENTS), _named(("width_s", "start_ms", "name", "happened", "amount"), rows))
    hour_ms = start_ms // (hour_s * 1000) * (hour_s * 1000)
    session.execute(
        _HOUR,
        {"minute": minute_s, "hour": hour_s, "from_ms": hour_ms, "to_ms": hour_ms + hour_s * 1000},
    )
    return NOTHING_HAPPENED


_HOUR = text("""
INSERT INTO event_rollups (width_s, start_ms, name, happened, amount)
SELECT CAST(:hour AS integer), CAST(:from_ms AS bigint), name, SUM(happened), SUM(amount) FROM event_rollups
WHERE width_s = :minute AND start_ms >= :from_ms AND start_ms < :to_ms GROUP BY name
ON CONFLICT (width_s, start_ms, name) DO UPDATE SET happened = excluded.happened, amount = excluded.amount
""")


def _named(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def _upsert(session: Session, made: dict[str, Insert]) -> Insert:
    return made[session.get_bind().dialect.name]


def _both(table: Table, key: Sequence[str], added: Sequence[str], replaced: Sequence[str]) -> dict[str, Insert]:
    """For each engine: an insert that adds to the row that is there, or takes the place of its values."""
    made: dict[str, Insert] = {}
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql)):
        new = dialect.insert(table)
        changed = {one: table.c[one] + new.excluded[one] for one in added}
        changed |= {one: new.excluded[one] for one in replaced}
        made[name] = new.on_conflict_do_update(index_elements=list(key), set_=changed)
    return made


_ERRORS = _both(errors, ("fingerprint",), ("count",), ("status", "message", "request_id", "last_ms"))
_SUMS = _both(requests, KEY, SUMS, ())
_EVENTS = _both(events, ("width_s", "start_ms", "name"), (), ("happened", "amount"))
