"""What records cost, and what a board waits for: ten million rows of each log, asked and shown; logging on and off.

GYM_BENCH_RECORDS says how many rows instead of ten million.
"""

from __future__ import annotations

import http.client
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import Connection, Engine, Index, Table, text
from sqlalchemy.schema import CreateIndex, DropIndex

from ci.cluster import Cluster
from ci.loopback import HOST
from ci.stand import standing
from system.admin.boards.asked import SPANS, spelt
from system.admin.boards.every import BOARDS
from system.database import engine_for
from system.operations_service import activity
from system.reporting import rollups
from system.reporting.cursors import Position
from system.reporting.events import COUNTED
from system.reporting.listings import RECORDS, Filters, page
from system.reporting.record_jobs import requested
from tests.bench.conftest import Report, Timed
from tests.bench.figures import at_most, plain
from tests.bench.service.ground import SEED, Ground, Load, Production
from tests.system.admin.visitors import let_in

pytestmark = [pytest.mark.benchmark_only, pytest.mark.timeout(3_600)]

ROWS = int(os.environ.get("GYM_BENCH_RECORDS", "10000000"))
EVERY_MS = 60
"""A request each: ten million are a week."""
KINDS, USERS = 25, 50_000
REPEATS = 40
MINUTES = 7 * 24 * 60
LOAD = Load(connections=32, seconds=4.0, warm_s=1.0)
ROUNDS = 8
TOKEN = "gymadm_of-one-who-looks"
HAPPENED = (
    "matches.scored", "notifications.delivered", "users.logged-in", "challenges.issued", "matches.scored",
    "notifications.delivered", "challenges.accepted", "matches.paired", "matches.closed", "challenges.settled",
)  # fmt: skip


_REQUESTED = (
    "INSERT INTO request_records (at_ms, user_id, kind, status, took_us, request_id) SELECT "
    "{begin} + n * {every}, 1 + (n * 7919) % {users}, 'domain.kind_' || ((n * 31) % {kinds}), "
    "CASE WHEN n % 499 = 0 THEN 503 WHEN n % 53 < 2 THEN 404 ELSE 200 END, 500 + n % 20000, 'request-' || n"
)
_HAPPENED = (
    "INSERT INTO activity (operation_id, at_ms, kind, actor_id, subject_id, data) SELECT "
    "'bench.' || n, {begin} + n * {every}, CASE n % 10 {happened} END, 1 + (n * 7919) % 300, 1 + n % 300, '{{}}'"
)
_SUMS = ", ".join(["200", "2", "1", "900000", *["20"] * 8])


def now_ms() -> int:
    """The instant, on the clock that rows bear."""
    return time.time_ns() // 1_000_000


def series(engine: Engine, last: int, columns: str) -> str:
    """A query of the columns for n from 1 to `last`."""
    if engine.dialect.name == "sqlite":
        numbers = f"WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {last}) SELECT n FROM t"
        return f"{columns} FROM ({numbers})"
    return f"{columns} FROM generate_series(1::bigint, {last}) AS t(n)"


def fill(engine: Engine, begin_ms: int) -> float:
    """Rows first and indexes after, which is several times as quick; how long that took, in seconds."""
    began = time.perf_counter()
    happened = " ".join(f"WHEN {place} THEN '{kind}'" for place, kind in enumerate(HAPPENED))
    for table, rows in ((requested, _REQUESTED), (activity, _HAPPENED)):
        columns = rows.format(begin=begin_ms, every=EVERY_MS, users=USERS, kinds=KINDS, happened=happened)
        _fill(engine, table, series(engine, ROWS, columns))
    for width_s, periods in ((rollups.MINUTE_S, MINUTES), (rollups.HOUR_S, MINUTES // 60)):
        start = f"{begin_ms // 3_600_000 * 3_600_000} + (n - 1) * {width_s * 1000}"
        sums = [("request_rollups", f"domain.kind_{kind}", _SUMS) for kind in range(KINDS)]
        sums += [("event_rollups", name, "20, 60") for name in sorted({*HAPPENED, COUNTED})]
        with engine.begin() as connection:
            for into, name, counts in sums:
                columns = f"INSERT INTO {into} SELECT {width_s}, {start}, '{name}', {counts}"
                connection.execute(text(series(engine, periods, columns)))
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    return time.perf_counter() - began


def _fill(engine: Engine, table: Table, statement: str) -> None:
    indexes: list[Index] = sorted(table.indexes, key=lambda index: str(index.name))
    with engine.begin() as connection:
        for index in indexes:
            connection.execute(DropIndex(index))
        connection.execute(text(statement))
    for index in indexes:
        with engine.begin() as connection:
            connection.execute(CreateIndex(index))


def questions(begin_ms: int) -> dict[str, Callable[[Connection, int], Any]]:
    """What is asked of the records, each a little different every time."""
    span_ms = ROWS * EVERY_MS

    def asked(filters: Callable[[int], Filters], deep: bool = False) -> Callable[[Connection, int], Any]:
        def ask(connection: Connection, turn: int) -> Any:
            after = Position(begin_ms + span_ms * (turn + 1) // (REPEATS + 2), 0) if deep else None
            return page(connection, RECORDS["activity"], filters(turn), 100, after)

        return ask

    def kind(turn: int) -> str:
        return f"domain.kind_{turn % KINDS}"

    return {
        "newest": asked(lambda _: Filters()),
        "deep": asked(lambda _: Filters(), deep=True),
        "of a user": asked(lambda turn: Filters(user=1 + turn * 991 % USERS)),
        "of a kind": asked(lambda turn: Filters(kind=kind(turn)), deep=True),
        "refused": asked(lambda _: Filters(status="4xx"), deep=True),
        "failed": asked(lambda _: Filters(status="5xx"), deep=True),
        "failed of a kind": asked(lambda turn: Filters(kind=kind(turn), status="5xx")),
        "a user's failed": asked(lambda turn: Filters(user=1 + turn * 991 % USERS, status="5xx")),
        "a user's of a kind": asked(lambda turn: Filters(user=1 + turn * 991 % USERS, kind=kind(turn))),
        "of an hour": asked(
            lambda turn: Filters(from_ms=begin_ms + span_ms // 2, to_ms=begin_ms + span_ms // 2 + 3_600_000 + turn)
        ),
        "an hour by minutes": lambda connection, turn: rollups.series(
            connection, rollups.MINUTE_S, begin_ms + turn * 3_600_000, begin_ms + (turn + 1) * 3_600_000
        ),
        "a week by kinds": lambda connection, turn: rollups.rows_of_kinds(
            connection, rollups.HOUR_S, begin_ms, begin_ms + 7 * 86_400_000 - turn
        ),
    }


def nothing_asked(connection: Connection, _turn: int) -> Any:
    return connection.execute(text("SELECT 1")).all()


def p95(samples: list[float]) -> float:
    return sorted(samples)[int(len(samples) * 0.95) - 1]


def asked_of_records(engine: Engine, begin_ms: int) -> dict[str, list[float]]:
    """How many milliseconds every question took, beside a query of nothing, turn by turn in one run."""
    asked = questions(begin_ms) | {"nothing": nothing_asked}
    took: dict[str, list[float]] = {told: [] for told in asked}
    for number in range(-1, REPEATS):
        for told, ask in asked.items():
            began = time.perf_counter()
            with engine.connect() as connection:
                ask(connection, max(0, number))
            if number >= 0:
                took[told].append((time.perf_counter() - began) * 1000)
    return took


def asked_of_boards(port: int) -> dict[str, list[float]]:
    """Every board's page for every span, beside one of nothing; no two windows are the same, as answers are shared."""
    took: dict[str, list[float]] = {path: [] for path in (*(board.path for board in BOARDS), "nothing")}
    with closing(http.client.HTTPConnection(HOST, port, timeout=60)) as connection:

        def ask(path: str) -> float:
            headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"}
            began = time.perf_counter()
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            answered = response.read()
            assert response.status == 200, answered[:300]
            assert b"cannot be shown" not in answered, path
            return (time.perf_counter() - began) * 1000

        for number in range(-1, REPEATS):
            for seconds in SPANS.values():
                to_ms = now_ms() - 1000 * (number + 2)
                window = urlencode({"from": spelt(to_ms - seconds * 1000), "to": spelt(to_ms)})
                for path in took:
                    found = ask("/health/live" if path == "nothing" else f"{path}?{window}")
                    if number >= 0:
                        took[path].append(found)
    return took


def _told(report: Report, name: str, took: dict[str, list[float]], nothing_told: str) -> None:
    found = {what: p95(samples) for what, samples in took.items()}
    nothing = found.pop("nothing")
    for what, ms in found.items():
        report(at_most(f"{name}: {what}, p95", [ms], "ms", 100))
    report(plain(f"{name}: {nothing_told}, p95", [nothing], "ms"))
    report(plain(f"{name}: the slowest to {nothing_told}", [max(found.values()) / nothing], "x"))


@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_boards(database: str, bench: Path, report: Report, timed: Timed) -> None:
    """A week of ten million requests and of as many things that happened, until now."""
    took: list[dict[str, list[float]]] = []
    with tempfile.TemporaryDirectory(dir=bench, prefix="records-") as directory, ExitStack() as stack:
        cluster = Cluster(Path(directory) / "pg") if database == "PostgreSQL" else None
        stand = stack.enter_context(standing(Production(Path(directory) / "stand", cluster=cluster)))
        ground = Ground(stand, users=300, tournaments=10)
        stand.build(users=ground.users, tournaments=ground.tournaments, matches=ground.users, seed=SEED)
        let_in(stand.database_url, TOKEN, ["read:boards"])
        writing = engine_for(stand.database_url, writer=True)
        begin_ms = now_ms() - ROWS * EVERY_MS
        report(plain(f"{database}: filling twice {ROWS:,} rows", [fill(writing, begin_ms)], "s"))
        writing.dispose()
        reading = engine_for(stand.database_url)
        _told(report, database, asked_of_records(reading, begin_ms), "a query of nothing")
        reading.dispose()
        with ground.serving(workers=1):
            timed(lambda: took.append(asked_of_boards(stand.port)), 1)
        _told(report, database, took[-1], "a page of nothing")


@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_what_recording_everything_costs(database: str, bench: Path, report: Report, timed: Timed) -> None:
    """The service with and without, first one and then the other, from one state; per second, and per CPU-second."""
    with tempfile.TemporaryDirectory(dir=bench, prefix="recording-") as directory, ExitStack() as stack:
        cluster = Cluster(Path(directory) / "pg") if database == "PostgreSQL" else None
        stand = stack.enter_context(standing(Production(Path(directory) / "stand", cluster=cluster)))
        ground = Ground(stand, users=300, tournaments=10)
        ground.build(history_s=2.0)
        rates: dict[str, list[float]] = {"true": [], "false": []}
        per_cpu: dict[str, list[float]] = {"true": [], "false": []}
        order = ["false", "true"]

        def both() -> None:
            for recording in order:
                ground.fresh()
                ground.stand.environment["GYM_RECORDS"] = recording
                with ground.serving(workers=1) as pids:
                    found = ground.busy(ground.stand.port, pids, LOAD)
                assert found.counted.unexpected == {}
                rates[recording].append(found.rate)
                per_cpu[recording].append(found.per_any_cpu_s)
            order.reverse()

        timed(both, ROUNDS)
    for told, figures in (("requests/s", rates), ("requests per CPU-second", per_cpu)):
        with_, without = figures["true"][1:], figures["false"][1:]
        cost = [100 * (1 - one / other) for one, other in zip(with_, without, strict=True)]
        report(plain(f"{database} without records, {told}", without, ""))
        report(plain(f"{database} with records, {told}", with_, ""))
        report(at_most(f"{database}: what records cost of {told}", cost, "%", 10))
