"""The goals of the service: met, and each of them missed."""

from __future__ import annotations

import pytest

from tests.bench.goals import Round, judged, summary
from tests.bench.service.goals import PGBENCH, named, rows

SQLITE: Round = {
    "ours rate": 2000.0, "ours per CPU-s": 1600.0, "ours p50 ms": 20.0, "ours p95 ms": 50.0, "ours server ms": 0.0,
    "ours 2 rate": 2500.0, "ours 2 per CPU-s": 1500.0, "ours 2 per any CPU-s": 1500.0,
    "naive rate": 200.0, "naive per CPU-s": 200.0, "naive p50 ms": 300.0, "naive p95 ms": 900.0, "naive server ms": 0.0,
    "driver rate": 3000.0, "driver per any CPU-s": 7000.0,
    "writes rate": 4000.0, "writes per CPU-s": 2500.0, "many writes rate": 5000.0, "unexpected": 0.0,
}  # fmt: skip
POSTGRES = SQLITE | {"naive per CPU-s": 500.0, "driver per any CPU-s": 7000.0}
WANTED = (*rows("SQLite"), *rows("PostgreSQL"), PGBENCH)


def found(sqlite: Round, postgres: Round) -> Round:
    return named("SQLite", sqlite) | named("PostgreSQL", postgres) | {"pgbench rate": 3000.0}


def missed(one: Round) -> list[str]:
    return [row.name for row in judged(WANTED, [one])[0] if not row.met]


def test_a_good_round_meets_every_goal() -> None:
    judgement = judged(WANTED, [found(SQLITE, POSTGRES)] * 3)
    assert summary(*judgement) == "8 goals met, 0 missed, 0 figures not measured"


@pytest.mark.parametrize(
    ("figure", "sqlite", "postgres", "goal"),
    [
        ("naive per CPU-s", 201.0, 534.0, "per CPU-second, ours to session per request"),
        ("ours 2 per any CPU-s", 1399.0, 1399.0, "both cores, ours to the raw driver"),
        ("writes rate", 3899.0, 3899.0, "writes to pgbench's"),
        ("unexpected", 1.0, 1.0, "answers that nobody expected"),
    ],
)
def test_every_goal_can_be_missed(figure: str, sqlite: float, postgres: float, goal: str) -> None:
    assert missed(found(SQLITE | {figure: sqlite}, POSTGRES)) == [f"SQLite: {goal}"]
    assert missed(found(SQLITE, POSTGRES | {figure: postgres})) == [f"PostgreSQL: {goal}"]


def test_what_was_not_measured_is_not_called_met() -> None:
    without = {name: value for name, value in SQLITE.items() if name != "writes rate"}
    _, missing = judged(WANTED, [found(without, POSTGRES)])
    assert missing == ["SQLite: durable writes over HTTP, 16 clients", "SQLite: writes to pgbench's"]
