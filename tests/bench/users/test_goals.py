"""What a load told becomes figures, and figures that miss their goals are told apart from those that nobody measured."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.goals import Round, exit_code, judged
from tests.bench.users import goals

GOOD: dict[str, Any] = {
    "users": 1000.0,
    "failures_in_all": 0,
    "total": {"p95_ms": 9.5},
    "generator": {"tool": "k6", "cores": 0.2},
    "accounts": [{"id": "DATA-LOST", "result": "pass"}],
    "doubts": [],
}


def found(**changes: Any) -> Round:
    return goals.found_of("SQLite, k6", GOOD | changes) | {"nginx: p95": 3.0}


def came_out(found: Round) -> tuple[int, list[str]]:
    rows, missing = judged(goals.rows(("sqlite",), ("k6",)), [found])
    return exit_code(rows, missing), [row.name for row in rows if not row.met] + missing


def test_a_good_load_meets_every_goal() -> None:
    assert came_out(found()) == (0, [])


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [
        ({"users": 998.0}, 1, ["SQLite, k6: users at once"]),
        ({"failures_in_all": 1}, 1, ["SQLite, k6: failures"]),
        ({"total": {"p95_ms": 15.5}}, 1, ["SQLite, k6: p95 to nginx's"]),
        ({"total": {"p95_ms": 20.5}}, 1, ["SQLite, k6: p95 of all requests", "SQLite, k6: p95 to nginx's"]),
        ({"total": {"p95_ms": None}}, 3, ["SQLite, k6: p95 of all requests", "SQLite, k6: p95 to nginx's"]),
        ({"accounts": [{"id": "DATA-LOST", "result": "fail"}]}, 1, ["SQLite, k6: writes not accounted for"]),
        ({"accounts": [{"id": "DATA-LOST", "result": "unknown"}]}, 1, ["SQLite, k6: writes not accounted for"]),
        ({"accounts": []}, 3, ["SQLite, k6: writes not accounted for"]),
        ({"doubts": ["Little's law does not close."]}, 1, ["SQLite, k6: reasons to doubt it"]),
    ],
)
def test_a_goal_that_was_missed_or_not_tried_is_named(changes: dict[str, Any], code: int, named: list[str]) -> None:
    assert came_out(found(**changes)) == (code, named)


def test_without_nginx_nothing_is_held_against_it() -> None:
    alone = found()
    del alone["nginx: p95"]
    assert came_out(alone) == (3, ["SQLite, k6: p95 to nginx's", "nginx, k6: p95 of all requests"])
