"""Records to list, prune and export, written through the real write lane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from system.reporting import record_jobs
from tests.system.gym import Gym

KINDS = ("users.me", "challenges.issue", "tournaments.standings")
STATUSES = (200, 200, 201, 404, 200, 503)


def request_row(number: int, at_ms: int) -> tuple[Any, ...]:
    """Several of one millisecond, of five users and nobody, of three kinds."""
    user = number % 6 or None
    return at_ms, user, KINDS[number % 3], STATUSES[number % 6], number, f"request-{number}", None


def request_rows(count: int, start_ms: int = 1_000) -> list[tuple[Any, ...]]:
    """So many requests, four to a millisecond."""
    return [request_row(number, start_ms + number // 4) for number in range(count)]


def keep(gym: Gym, rows: Iterable[Sequence[Any]]) -> None:
    """The requests are recorded."""
    gym.apply(record_jobs.keep_requests, list(rows))
