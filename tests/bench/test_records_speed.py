"""What records cost, and what a board waits for: ten million requests on record, by every index, and logging on and off.

GYM_BENCH_RECORDS says how many rows instead of ten million.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Index, text
from sqlalchemy.schema import CreateIndex, DropIndex

from backups.postgres.server import Server
from ci.cluster import Cluster
from ci.stand import standing
from system.database import Base, engine_for
from system.models import metadata
from system.reporting import rollups
from system.reporting.cursors import Position
from system.reporting.listings import RECORDS, Filters, page
from system.reporting.record_jobs import requested
from tests.bench.conftest import Report, Timed
from tests.bench.figures import at_most, plain
from tests.bench.service.ground import Ground, Load, Production

pytestmark = [pytest.mark.benchmark_only, pytest.mark.timeout(1_800)]

assert metadata

ROWS = int(os.environ.get("GYM_BENCH_RECORDS", "10000000"))
EVERY_MS = 60
"""A request each: ten million are a week."""
KINDS, USERS = 25, 50_000
REPEATS = 40
MINUTES = 7 * 24 * 60
LOAD = Load(connections=32, seconds=4.0, warm_s=1.0)
ROUNDS = 8

_ROW = (
    "{n} * {every}, 1 + ({n} * 7919) % {users}, 'domain.kind_' || (({n} * 31) % {kinds}), "
    "CASE WHEN {n} % 499 = 0 THEN 503 WHEN {n} % 53 < 2 THEN 404 ELSE 200 END, 500 + {n} % 20000, 'request-' || {n}"
)
_INSERT = "INSERT INTO request_records (at_ms, user_id, kind, status, took_us, request_id) SELECT "
_SUMS = ", ".join(["200", "2", "1", "900000", *["20"] * 8])


def row(n: str) -> str:
    """The columns of the row of that number, the same on every engine."""
    return _ROW.format(n=n, every=EVERY_MS, users=USERS, kinds=KINDS)


def series(engine: Engine, last: int, columns: str) -> str:
    """A query of the columns for n from 1 to `last`."""
    if engine.dialect.name == "sqlite":
        numbers = f"WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {last}) SELECT n FROM t"
        return f"{columns} FROM ({numbers})"
    return f"{columns} FROM generate_series(1::bigint, {last}) AS t(n)"


def fill(engine: Engine) -> float:
    """Rows first and indexes after, which is several times as quick; how long that took, in seconds."""
    began = time.perf_counter()
    indexes: list[Index] = sorted(requested.indexes, key=lambda index: str(index.name))
    with engine.begin() as connection:
        for index in indexes:
            connection.execute(DropIndex(index))
        connection.execute(text(_INSERT + series(engine, ROWS, row("n"))))
    for index in indexes:
        with engine.begin() as connection:
            connection.execute(CreateIndex(index))
    for width_s, periods in ((rollups.MINUTE_S, MINUTES), (rollups.HOUR_S, MINUTES // 60)):
        for kind in range(KINDS):
            columns = f"{width_s}, (n - 1) * {width_s * 1000}, 'domain.kind_{kind}', {_SUMS}"
            with engine.begin() as connection:
                connection.execute(text("INSERT INTO request_rollups SELECT " + series(engine, periods, columns)))
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    return time.perf_counter() - began


def boards() -> dict[str, Callable[[Connection, int], Any]]:
    """What boards ask, each a little different every time."""
    span_ms = ROWS * EVERY_MS

    def asked(filters: Callable[[int], Filters], deep: bool = False) -> Callable[[Connection, int], Any]:
        def ask(connection: Connection, turn: int) -> Any:
            after = Position(span_ms * (turn + 1) // (REPEATS + 2), 0) if deep else None
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
        "of an hour": asked(lambda turn: Filters(from_ms=span_ms // 2, to_ms=span_ms // 2 + 3_600_000 + turn)),
        "an hour by minutes": lambda connection, turn: rollups.series(
            connection, rollups.MINUTE_S, turn * 3_600_000, (turn + 1) * 3_600_000
        ),
        "a week by kinds": lambda connection, turn: rollups.rows_of_kinds(
            connection, rollups.HOUR_S, 0, 7 * 86_400_000 - turn
        ),
    }


def nothing_asked(connection: Connection, _turn: int) -> Any:
    return connection.execute(text("SELECT 1")).all()


def p95(samples: list[float]) -> float:
    return sorted(samples)[int(len(samples) * 0.95) - 1]


def measured(engine: Engine, report: Report, timed: Timed, name: str) -> None:
    """Every board beside a query of nothing, turn by turn in one run."""
    took: dict[str, list[float]] = {board: [] for board in (*boards(), "nothing")}

    def turn(number: int) -> None:
        for board, ask in (boards() | {"nothing": nothing_asked}).items():
            began = time.perf_counter()
            with engine.connect() as connection:
                ask(connection, number)
            took[board].append((time.perf_counter() - began) * 1000)

    def turns() -> None:
        for number in range(REPEATS):
            turn(number)

    timed(turns, 1)
    found = {board: p95(samples) for board, samples in took.items()}
    for board in boards():
        report(at_most(f"{name}: {board}, p95", [found[board]], "ms", 100))
    nothing = found.pop("nothing")
    report(plain(f"{name}: a query of nothing, p95", [nothing], "ms"))
    report(plain(f"{name}: the slowest board to a query of nothing", [max(found.values()) / nothing], "x"))


@contextmanager
def filled(url: str, report: Report, name: str) -> Iterator[Engine]:
    """A database with the rows in it, opened as long reads open it."""
    writing = engine_for(url, writer=True)
    Base.metadata.create_all(writing)
    report(plain(f"{name}: filling {ROWS:,} rows", [fill(writing)], "s"))
    writing.dispose()
    reading = engine_for(url)
    try:
        yield reading
    finally:
        reading.dispose()


def test_boards_on_sqlite(bench: Path, report: Report, timed: Timed) -> None:
    with tempfile.TemporaryDirectory(dir=bench, prefix="records-") as directory:
        with filled(f"sqlite:///{Path(directory) / 'gym.db'}", report, "SQLite") as engine:
            measured(engine, report, timed, "SQLite")


def test_boards_on_postgresql(postgres: Server, report: Report, timed: Timed) -> None:
    name = "bench_records"
    postgres.create_database(name)
    try:
        with filled(postgres.url(name), report, "PostgreSQL") as engine:
            measured(engine, report, timed, "PostgreSQL")
    finally:
        with postgres.connect("postgres") as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


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
