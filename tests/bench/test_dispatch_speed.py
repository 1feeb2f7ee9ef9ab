"""What the short ways are worth: a request past FastAPI's own routing, a statement past SQLAlchemy's own execution."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from sqlalchemy import Connection

from system.database import engine_for
from system.dispatch import Dispatch
from system.edge import App
from system.models import metadata
from system.seed import seed
from system.shapes import Limit, PathId
from system.statements import DriverReader, Reader, statements_for
from system.user_service import profile, session_user
from tests.bench.conftest import Report, Timed
from tests.bench.figures import at_least, at_most

pytestmark = pytest.mark.benchmark_only

REQUESTS = 500
READS = 1_000
ROUNDS = 7

router = APIRouter()


@router.get("/users/{user_id}/points", response_model=None)
async def points(request: Request, user_id: PathId, limit: Limit = 20) -> Response:
    """A handler that does nothing but answer, with a parameter in its path and one in its query."""
    assert (user_id, limit) == (7, 5)
    return Response(b"{}", media_type="application/json")


def ask(app: App, count: int) -> None:
    """So many requests, one after another, on one loop."""
    answered: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    async def run() -> None:
        for _ in range(count):
            scope = {
                "type": "http", "http_version": "1.1", "method": "GET", "path": "/users/7/points", "root_path": "",
                "raw_path": b"/users/7/points", "query_string": b"limit=5", "scheme": "http", "headers": [],
                "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "asgi": {"version": "3.0"},
                "state": {"request_id": "r"},
            }  # fmt: skip
            await app(scope, receive, send)

    asyncio.run(run())
    assert answered == [200] * count


def test_a_request_past_fastapis_routing(timed: Timed, report: Report) -> None:
    whole = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})
    whole.include_router(router)
    short = Dispatch([router], whole)
    found = timed_beside(timed, lambda: ask(short, REQUESTS), lambda: ask(whole, REQUESTS))
    short_us, ratio = zip(*[(one / REQUESTS * 1e6, other / one) for one, other in found], strict=True)
    report(at_most("a request through the dispatch", short_us, "µs", 100))
    report(at_least("FastAPI's own way to it", ratio, "x", 2))


def test_a_statement_past_sqlalchemys_execution(timed: Timed, report: Report, bench: Path) -> None:
    with connected(bench) as (connection, quick):
        assert profile(quick, 7) == profile(connection, 7)

        def read(reader: Reader) -> None:
            for number in range(READS):
                session_user(reader, "0" * 64, number)

        found = timed_beside(timed, lambda: read(quick), lambda: read(connection))
    quick_us, ratio = zip(*[(one / READS * 1e6, other / one) for one, other in found], strict=True)
    report(at_most("a prebuilt statement", quick_us, "µs", 60))
    report(at_least("SQLAlchemy's own way to it", ratio, "x", 2))


@contextmanager
def connected(bench: Path) -> Iterator[tuple[Connection, Reader]]:
    """One connection of a populated database, as SQLAlchemy has it and the short way."""
    with tempfile.TemporaryDirectory(dir=bench, prefix="statements-") as directory:
        engine = engine_for(f"sqlite:///{Path(directory) / 'gym.db'}", writer=True)
        metadata.create_all(engine)
        seed(engine, users_count=20, tournaments_count=1, matches_count=5, run="r", seed=1, now_ms=1_700_000_000_000)
        with engine.connect() as connection:
            raw = connection.connection.driver_connection
            connection.exec_driver_sql("SELECT 1")
            yield connection, DriverReader(raw, statements_for(engine.dialect))
        engine.dispose()


def timed_beside(timed: Timed, one: Callable[[], None], other: Callable[[], None]) -> list[tuple[float, float]]:
    """How long both took in each round, side by side."""
    found: list[tuple[float, float]] = []

    def both() -> None:
        began = perf_counter()
        one()
        between = perf_counter()
        other()
        found.append((between - began, perf_counter() - between))

    timed(both, ROUNDS)
    return found[1:]  # without the warm-up
