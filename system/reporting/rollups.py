"""Requests summed up as they end, by the minute and by the hour, so that a board never reads what it can look up.

    request ── tally ── sums of this process ── every few seconds, added in the write lane ── request_rollups

The sums of the minute count every request, those included of which no record was kept.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, func, literal_column, or_, select

from system.reporting.record_models import BUCKETS_MS, EventRollup, RequestRollup

requests: Table = RequestRollup.__table__  # type: ignore[assignment]
events: Table = EventRollup.__table__  # type: ignore[assignment]

MINUTE_S, HOUR_S = 60, 3600
WIDTHS_S = (MINUTE_S, HOUR_S)
SUMS = ("requests", "refused", "failed", "took_us", *(f"within_{bound}_ms" for bound in BUCKETS_MS))
KEY = ("width_s", "start_ms", "kind")
PLACES = 4_096
"""Sums that a process holds at most; there are two for each kind of request and minute."""

_BOUNDS_US = [bound * 1000 for bound in BUCKETS_MS]
_BUCKETS = SUMS.index(f"within_{BUCKETS_MS[0]}_ms")

Row = list[Any]


class Tallies:
    """The sums of one process since they were last taken."""

    def __init__(self) -> None:
        self._minutes: dict[tuple[int, str], list[int]] = {}

    def __len__(self) -> int:
        return len(self._minutes)

    def add(self, at_ms: int, kind: str, status: int, took_us: int) -> bool:
        """One more request; False when there was no place for it."""
        key = (at_ms // 60_000, kind)
        sums = self._minutes.get(key)
        if sums is None:
            if len(self._minutes) >= PLACES:
                return False
            sums = self._minutes[key] = [0] * len(SUMS)
        sums[0] += 1
        if status >= 500:
            sums[2] += 1
        elif status >= 400:
            sums[1] += 1
        sums[3] += took_us
        bucket = bisect_left(_BOUNDS_US, took_us)
        if bucket < len(_BOUNDS_US):
            sums[_BUCKETS + bucket] += 1
        return True

    def take(self) -> list[Row]:
        """The rows to be added, of each width, in one order for every process; the sums begin anew."""
        minutes, self._minutes = self._minutes, {}
        sums: dict[tuple[int, int, str], list[int]] = {}
        for (minute, kind), counted in minutes.items():
            for width_s in WIDTHS_S:
                start_ms = minute * 60_000 // (width_s * 1000) * (width_s * 1000)
                total = sums.setdefault((width_s, start_ms, kind), [0] * len(SUMS))
                for place, value in enumerate(counted):
                    total[place] += value
        return [[*key, *total] for key, total in sorted(sums.items())]

    def give_back(self, rows: Sequence[Row]) -> int:
        """The rows of `take` were not written and are counted again; how many requests there was no place for."""
        lost = 0
        for width_s, start_ms, kind, *counted in rows:
            if width_s != MINUTE_S:
                continue
            key = (start_ms // 60_000, kind)
            sums = self._minutes.get(key)
            if sums is None:
                if len(self._minutes) >= PLACES:
                    lost += counted[0]
                    continue
                sums = self._minutes[key] = [0] * len(SUMS)
            for place, value in enumerate(counted):
                sums[place] += value
        return lost


def requests_in(rows: Sequence[Row]) -> int:
    """How many requests the rows of `take` are the sums of."""
    return sum(row[len(KEY)] for row in rows if row[0] == MINUTE_S)


def rows_of_kinds(connection: Connection, width_s: int, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
    """The sums of each kind of request over the whole span, the most frequent first."""
    totals = [func.sum(requests.c[name]).label(name) for name in SUMS]
    asked = select(requests.c.kind, *totals).where(_spanned(width_s, from_ms, to_ms))
    return _plain(connection.execute(asked.group_by(requests.c.kind).order_by(totals[0].desc(), requests.c.kind)))


def series(
    connection: Connection, width_s: int, from_ms: int, to_ms: int, kind: str | None = None, step_s: int | None = None
) -> dict[str, list[dict[str, Any]]]:
    """What happened in each period that begins within the span, oldest first: requests, all kinds or one, and events.

    A period is of the sums' own width, or of `step_s` seconds, of which that is a part.
    """
    step_ms = (step_s or width_s) * 1000
    totals = [func.sum(requests.c[name]).label(name) for name in SUMS]
    start = _period(requests, step_ms)
    asked = select(start, *totals).where(*_within(requests, width_s, from_ms, to_ms))
    if kind is not None:
        asked = asked.where(requests.c.kind == kind)
    counted = connection.execute(asked.group_by(start).order_by(start))
    start = _period(events, step_ms)
    happened = connection.execute(
        select(
            start,
            events.c.name,
            func.sum(events.c.happened).label("happened"),
            func.sum(events.c.amount).label("amount"),
        )
        .where(*_within(events, width_s, from_ms, to_ms))
        .group_by(start, events.c.name)
        .order_by(start, events.c.name)
    )
    return {"requests": _plain(counted), "events": _plain(happened)}


def percentile_ms(sums: Sequence[int], share: float) -> float | None:
    """An upper bound of what that share of the requests took, by their buckets; None when it is beyond the last or none."""
    wanted, seen = share * sums[0], 0
    if not sums[0]:
        return None
    for bound, count in zip(BUCKETS_MS, sums[_BUCKETS:], strict=True):
        seen += count
        if seen >= wanted:
            return float(bound)
    return None


def _period(table: Table, step_ms: int) -> ColumnElement[Any]:
    """The beginning of the period that the row is a part of; written out, so that it is the same wherever it stands."""
    return (table.c.start_ms - table.c.start_ms % literal_column(str(step_ms))).label("start_ms")


def _spanned(width_s: int, from_ms: int, to_ms: int) -> ColumnElement[bool]:
    """The rows of the span, each request in one of them: whole hours by the hour, and by the minute what is left of it."""
    hour_ms = HOUR_S * 1000
    begin_ms, end_ms = -(-from_ms // hour_ms) * hour_ms, to_ms // hour_ms * hour_ms
    if width_s != MINUTE_S or begin_ms >= end_ms:
        return and_(*_within(requests, width_s, from_ms, to_ms))
    spans = ((MINUTE_S, from_ms, begin_ms), (HOUR_S, begin_ms, end_ms), (MINUTE_S, end_ms, to_ms))
    return or_(*(and_(*_within(requests, *span)) for span in spans))


def _within(table: Table, width_s: int, from_ms: int, to_ms: int) -> Iterator[ColumnElement[bool]]:
    yield table.c.width_s == width_s
    yield table.c.start_ms >= from_ms
    yield table.c.start_ms < to_ms


def _plain(result: Any) -> list[dict[str, Any]]:
    """PostgreSQL sums whole numbers as decimals; here they are whole numbers again."""
    return [
        {name: value if value is None or isinstance(value, str) else int(value) for name, value in row.items()}
        for row in result.mappings()
    ]
