"""What is made of a round of the benchmark of the service, and the goals that it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.bench.figures import plain
from tests.bench.goals import Round, Value, Wanted, of, over, ratio, under

CORES: Final = 2
TO_NAIVE: Final[Mapping[str, float]] = {"SQLite": 8.0, "PostgreSQL": 3.0}
"""How many times as much a CPU-second must do as in the session-per-request version."""
TO_DRIVER: Final = 40.0
"""Percent of the raw driver's rate that both cores must reach.

The driver's rate is what it does in a CPU-second, its server's included: on the wall it waits for the disk as well, and is
slower.
"""
TO_PGBENCH: Final = 1.3


def rows(database: str) -> tuple[Wanted, ...]:
    """The rows of one database."""

    def name(figure: str) -> str:
        return f"{database}: {figure}"

    def figure(name_: str) -> Value:
        return of(name(name_))

    return (
        Wanted(name("ours, 1 worker"), figure("ours rate"), "requests/s", plain),
        Wanted(name("ours, 2 workers"), figure("ours 2 rate"), "requests/s", plain),
        Wanted(name("session per request"), figure("naive rate"), "requests/s", plain),
        Wanted(name("raw driver, one thread, no HTTP"), figure("driver rate"), "requests/s", plain),
        Wanted(name("ours, 1 worker, p50"), figure("ours p50 ms"), "ms", plain),
        Wanted(name("ours, 1 worker, p95"), figure("ours p95 ms"), "ms", plain),
        Wanted(name("session per request, p50"), figure("naive p50 ms"), "ms", plain),
        Wanted(name("session per request, p95"), figure("naive p95 ms"), "ms", plain),
        Wanted(name("ours, 1 worker, per CPU-second"), figure("ours per CPU-s"), "requests", plain),
        Wanted(name("ours, 2 workers, per CPU-second"), figure("ours 2 per CPU-s"), "requests", plain),
        Wanted(name("session per request, per CPU-second"), figure("naive per CPU-s"), "requests", plain),
        Wanted(name("raw driver, per CPU-second, server included"), figure("driver per any CPU-s"), "requests", plain),
        Wanted(name("server's CPU a request, ours"), figure("ours server ms"), "ms", plain),
        Wanted(name("server's CPU a request, session per request"), figure("naive server ms"), "ms", plain),
        Wanted(
            name("per CPU-second, ours to session per request"),
            ratio(name("ours per CPU-s"), name("naive per CPU-s")),
            "x",
            over(TO_NAIVE[database]),
        ),
        Wanted(
            name("both cores, ours to the raw driver"),
            ratio(name("ours 2 per any CPU-s"), name("driver per any CPU-s"), 100.0 * CORES),
            "%",
            over(TO_DRIVER),
        ),
        Wanted(name("durable writes over HTTP, 16 clients"), figure("writes rate"), "writes/s", plain),
        Wanted(name("the same, per CPU-second"), figure("writes per CPU-s"), "writes", plain),
        Wanted(name("writes to pgbench's"), ratio(name("writes rate"), "pgbench rate"), "x", over(TO_PGBENCH)),
        Wanted(name("durable writes over HTTP, 100 clients"), figure("many writes rate"), "writes/s", plain),
        Wanted(name("the same to pgbench's 16"), ratio(name("many writes rate"), "pgbench rate"), "x", plain),
        Wanted(name("answers that nobody expected"), figure("unexpected"), "", under(0)),
    )


PGBENCH: Final = Wanted("pgbench, 16 clients", of("pgbench rate"), "writes/s", plain)


def named(database: str, found: Round) -> Round:
    """What was found of one database, under names that no other database has."""
    return {f"{database}: {figure}": value for figure, value in found.items()}
