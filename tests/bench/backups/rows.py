"""What the databases of the benchmark hold, whichever system keeps them: users, events with JSON payloads, notifications.

The rows are made from a seed, so that every machine measures the same; about 3.5 : 1 under zstd.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

RECIPE: Final = 1
"""Part of a database's name: another recipe is another database."""
USERS_PER_MB: Final = 20
_FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
SMALLEST, LARGEST = 1 << 16, (1 << 23) - 1
"""Amounts that take three bytes each, so that another one in its place moves nothing."""

_KINDS: Final = ("workout.logged", "challenge.joined", "match.played", "points.awarded", "tournament.entered", "login")
_PLACES: Final = ("Berlin", "Lisbon", "Osaka", "Lima", "Nairobi", "Oslo", "Toronto", "Hanoi", "Zagreb", "Perth")
_EXERCISES: Final = ("squat", "deadlift", "bench press", "row", "pull-up", "lunge", "plank", "clean and jerk")
_CLIENTS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Gymkhana/4.2 (Android 15; Pixel 9)",
)


def users(chance: random.Random, count: int) -> Iterator[tuple[int, str, str, str]]:
    """Every user, numbered from 1: number, name, address, when they joined."""
    for number in range(1, count + 1):
        name = f"{chance.choice(_PLACES).lower()}-{chance.choice(_EXERCISES).replace(' ', '-')}-{number}"
        yield number, name, f"{name}@example.org", _instant(chance, number)


def event(chance: random.Random, number: int, users: int) -> tuple[int, str, str, int, str]:
    """One event without its number: whose, of which kind, when, how much, and its payload as JSON."""
    kind = chance.choice(_KINDS)
    at = _instant(chance, number)
    address = ".".join(str(chance.randrange(256)) for _ in range(4))
    latitude, longitude = round(chance.uniform(-60, 60), 6), round(chance.uniform(-180, 180), 6)
    payload = {
        "id": chance.randbytes(16).hex(),
        "kind": kind,
        "at": at,
        "client": {"agent": chance.choice(_CLIENTS), "address": address},
        "place": {"city": chance.choice(_PLACES), "latitude": latitude, "longitude": longitude},
        "sets": [_set(chance) for _ in range(chance.randrange(1, 5))],
        "signature": chance.randbytes(112).hex(),
    }
    return chance.randint(1, users), kind, at, chance.randint(SMALLEST, LARGEST), json.dumps(payload)


def notifications(events: Sequence[tuple[Any, ...]]) -> list[tuple[int, int, str]]:
    """What is told of every fifth event, each with its number before it: of which, to whom, and the text."""
    return [(row, user, f"{kind}: {amount} points") for row, user, kind, _, amount, _ in events[::5]]


def _set(chance: random.Random) -> dict[str, Any]:
    return {
        "exercise": chance.choice(_EXERCISES),
        "repeats": chance.randrange(1, 20),
        "weight_kg": chance.randrange(20, 180),
    }


def _instant(chance: random.Random, number: int) -> str:
    """Seven seconds after the one before it, and some milliseconds."""
    instant = _FIRST + timedelta(seconds=number * 7, milliseconds=chance.randrange(1000))
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
