"""Pages of the records: each row once whatever is written meanwhile, by every filter, and by an index."""

from __future__ import annotations

from typing import Any

import pytest

from system.errors import Invalid
from system.reporting import record_jobs
from system.reporting.listings import RECORDS, Filters, filters_of, instant_ms, listing, page
from tests.system.gym import Gym, PostgresGym
from tests.system.reporting.kept import keep, request_row, request_rows

ACTIVITY = RECORDS["activity"]
SQL = "SELECT {} FROM request_records ORDER BY at_ms DESC, id DESC"


def pages(gym: Gym, filters: Filters, limit: int, between: Any = lambda: None) -> list[dict[str, Any]]:
    """Every row of the listing, page by page."""
    found: list[dict[str, Any]] = []
    after = None
    while True:
        got = gym.read(listing, ACTIVITY, filters, limit, after)
        found += got["activity"]
        after = got["next"]
        if after is None:
            return found
        between()


def test_what_is_kept_is_what_is_listed(gym: Gym) -> None:
    keep(gym, request_rows(10))
    shown = gym.read(page, ACTIVITY, Filters(), 100, None)
    columns = ", ".join(ACTIVITY.columns)
    assert [tuple(row[name] for name in ACTIVITY.columns) for row in shown] == gym.rows(SQL.format(columns))
    assert shown[-1] | {"id": 0} == {
        "id": 0, "at_ms": 1_000, "user_id": None, "kind": "users.me", "status": 200, "took_us": 0,
        "request_id": "request-0", "operation_id": None,
    }  # fmt: skip


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_pages_neither_skip_nor_repeat_while_rows_are_written(gym: Gym, limit: int) -> None:
    """Newer rows come between any two pages, some of them of the very milliseconds that are being read."""
    keep(gym, request_rows(50))
    before = [row[0] for row in gym.rows(SQL.format("id"))]
    numbers = iter(range(1_000, 2_000))

    def meanwhile() -> None:
        keep(gym, [request_row(next(numbers), at_ms) for at_ms in (1_006, 9_999)])

    found = [row["id"] for row in pages(gym, Filters(), limit, meanwhile)]
    assert len(found) == len(set(found))
    assert [one for one in found if one in set(before)] == before


@pytest.mark.parametrize(
    ("filters", "where"),
    [
        (Filters(user=3), "user_id = 3"),
        (Filters(kind="challenges.issue"), "kind = 'challenges.issue'"),
        (Filters(status="4xx"), "status >= 400 AND status < 500"),
        (Filters(status="5xx"), "status >= 500"),
        (Filters(status="2xx", kind="users.me"), "status < 300 AND kind = 'users.me'"),
        (Filters(from_ms=1_003, to_ms=1_007), "at_ms >= 1003 AND at_ms < 1007"),
        (Filters(user=1, from_ms=1_003), "user_id = 1 AND at_ms >= 1003"),
    ],
)
def test_a_filter_shows_what_it_says_and_no_other_row(gym: Gym, filters: Filters, where: str) -> None:
    keep(gym, request_rows(48))
    wanted = [row[0] for row in gym.rows(f"SELECT id FROM request_records WHERE {where} ORDER BY at_ms DESC, id DESC")]
    assert 0 < len(wanted) < 48
    assert [row["id"] for row in pages(gym, filters, 5)] == wanted


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (Filters(), "at_ms_id"),
        (Filters(user=3), "user_id_at_ms_id"),
        (Filters(kind="users.me"), "kind_at_ms_id"),
        (Filters(status="4xx"), "refused"),
        (Filters(status="5xx"), "failed"),
        (Filters(kind="users.me", status="5xx"), "kind_failed"),
        (Filters(kind="users.me", status="4xx"), "kind_refused"),
        (Filters(user=3, kind="users.me"), "user_id_at_ms_id"),
        (Filters(user=3, kind="users.me", status="5xx"), "user_id_at_ms_id"),
    ],
)
def test_a_page_is_found_in_an_index_and_not_sorted(gym: Gym, filters: Filters, index: str) -> None:
    from system.reporting.listings import _asked

    if isinstance(gym, PostgresGym):
        gym.tamper(
            "INSERT INTO request_records (at_ms, user_id, kind, status, took_us, request_id) "
            "SELECT n, n % 100, CASE n % 20 WHEN 7 THEN 'users.me' ELSE 'k' || n % 20 END, "
            "CASE n % 50 WHEN 0 THEN 404 WHEN 1 THEN 500 ELSE 200 END, 1, 'r' "
            "FROM generate_series(1, 20000) n",
            "ANALYZE request_records",
        )
    asked = _asked(ACTIVITY, filters, 100, None).compile(
        dialect=gym.reading.dialect, compile_kwargs={"literal_binds": True}
    )
    explain = "EXPLAIN" if isinstance(gym, PostgresGym) else "EXPLAIN QUERY PLAN"
    plan = " ".join(str(row) for row in gym.rows(f"{explain} {str(asked).replace('%', '%%')}"))
    assert f"ix_request_records_{index}" in plan
    if not isinstance(gym, PostgresGym):  # PostgreSQL knows how few there are, and may rather sort a handful.
        assert "TEMP B-TREE" not in plan


def test_errors_of_one_fingerprint_are_one_row_counted_on(gym: Gym) -> None:
    def group(fingerprint: str, count: int, at_ms: int, message: str) -> list[Any]:
        return [fingerprint, "Kind", "code", "a.place", 503, message, f"request-{at_ms}", count, at_ms, at_ms]

    gym.apply(record_jobs.keep_errors, [group("aa", 2, 10, "first"), group("bb", 1, 20, "other")])
    gym.apply(record_jobs.keep_errors, [group("aa", 3, 30, "last")])
    told = "SELECT fingerprint, count, first_ms, last_ms, message, request_id FROM error_records ORDER BY id"
    assert gym.rows(told) == [("aa", 5, 10, 30, "last", "request-30"), ("bb", 1, 20, 20, "other", "request-20")]
    seen = gym.read(listing, RECORDS["errors"], Filters(from_ms=25), 10, None)["errors"]
    assert [row["fingerprint"] for row in seen] == ["aa"], "what was seen within the span, whenever it began"


def test_sums_of_two_processes_are_added(gym: Gym) -> None:
    row: list[Any] = [60, 0, "users.me", 2, 1, 0, 9_000, 1, 1, 0, 0, 0, 0, 0, 0]
    for _ in range(2):
        gym.apply(record_jobs.add_rollups, [row])
    assert gym.rows("SELECT * FROM request_rollups") == [(60, 0, "users.me", *(2 * value for value in row[3:]))]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        (None, None),
        ("1970-01-01T00:00:01Z", 1_000),
        ("1970-01-01T01:00:00.25+01:00", 250),
        ("1970-01-01T01:00:00 01:00", 0),
    ],
)
def test_an_instant_is_read_with_its_offset(text: str | None, ms: int | None) -> None:
    assert instant_ms("from", text) == ms


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-23T09:00:00", "2026-13-01T00:00:00Z"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="The parameter from"):
        instant_ms("from", text)


def test_what_a_record_cannot_be_asked_by_is_refused() -> None:
    with pytest.raises(Invalid, match="errors cannot be asked for by it"):
        filters_of(RECORDS["errors"], 1, None, None, None, None)
    with pytest.raises(Invalid, match="one of 1xx, 2xx"):
        filters_of(ACTIVITY, None, None, "500", None, None)
