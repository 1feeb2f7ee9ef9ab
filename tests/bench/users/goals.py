"""What a thousand users are promised, of what a round of loads found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.bench.figures import plain
from tests.bench.goals import Make, Round, Wanted, of, over, ratio, under

USERS: Final = 1000
DATABASES: Final[Mapping[str, str]] = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
TOOLS: Final = ("k6", "locust", "jmeter")
P95_MS: Final[Mapping[str, float]] = {"sqlite": 20.0, "postgres": 40.0}
"""By k6's clock, at think times of one to three seconds."""
TO_NGINX: Final = 5.0


def rows(databases: tuple[str, ...], tools: tuple[str, ...]) -> list[Wanted]:
    """Every row; the latencies are promised of k6, whose own share in them is the smallest."""
    wanted = []
    for database in databases:
        for tool in tools:
            name = f"{DATABASES[database]}, {tool}"
            p95: Make = under(P95_MS[database]) if tool == "k6" else plain
            wanted += [
                Wanted(f"{name}: users at once", of(f"{name}: users"), "", over(USERS)),
                Wanted(f"{name}: failures", of(f"{name}: failures"), "", under(0)),
                Wanted(f"{name}: p95 of all requests", of(f"{name}: p95"), "ms", p95),
                Wanted(f"{name}: writes not accounted for", of(f"{name}: odd"), "", under(0)),
                Wanted(f"{name}: reasons to doubt it", of(f"{name}: doubts"), "", under(0)),
                Wanted(f"{name}: the generator", of(f"{name}: cores"), "cores", plain),
            ]
        if "k6" in tools:
            name = f"{DATABASES[database]}, k6"
            wanted.append(Wanted(f"{name}: p95 to nginx's", ratio(f"{name}: p95", "nginx: p95"), "x", under(TO_NGINX)))
    if "k6" in tools:
        wanted.append(Wanted("nginx, k6: p95 of all requests", of("nginx: p95"), "ms", plain))
    return wanted


def found_of(name: str, told: Mapping[str, object]) -> Round:
    """What `gymkhana load --json` told, under names that no other load has. What is null is not there."""
    total, generator = told["total"], told["generator"]
    accounts, doubts = told["accounts"], told["doubts"]
    assert isinstance(total, dict)
    assert isinstance(generator, dict)
    assert isinstance(accounts, list)
    assert isinstance(doubts, list)
    figures = {
        "users": told["users"],
        "failures": told["failures_in_all"],
        "p95": total["p95_ms"],
        "odd": sum(one["result"] != "pass" for one in accounts) if accounts else None,
        "doubts": len(doubts),
        "cores": generator["cores"],
    }
    return {f"{name}: {what}": float(value) for what, value in figures.items() if isinstance(value, int | float)}
