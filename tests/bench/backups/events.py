"""A database worth backing up: users, events with JSON payloads, notifications, indexes; about 3.5 : 1 under zstd.

The rows are made from a seed, so that every machine measures the same database. It is built once for each size and kept.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pysqlite3 import dbapi2 as sqlite

RECIPE: Final = 1
"""Part of the file's name: another recipe is another database."""

SCHEMA: Final = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE, joined_at TEXT NOT NULL);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), kind TEXT NOT NULL, at TEXT NOT NULL,
    amount INTEGER NOT NULL, payload TEXT NOT NULL
);
CREATE TABLE notifications (
    id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id), event_id INTEGER NOT NULL REFERENCES events (id),
    text TEXT NOT NULL
);
CREATE INDEX events_by_user ON events (user_id, id);
CREATE INDEX events_by_kind ON events (kind, at);
CREATE INDEX notifications_by_user ON notifications (user_id);
"""
PAGE_BYTES: Final = 4096
USERS_PER_MB: Final = 20
_BATCH: Final = 1_000
_FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SMALLEST, _LARGEST = 1 << 16, (1 << 23) - 1
"""Amounts that take three bytes each, so that another one in its place moves nothing."""

_KINDS: Final = ("workout.logged", "challenge.joined", "match.played", "points.awarded", "tournament.entered", "login")
_PLACES: Final = ("Berlin", "Lisbon", "Osaka", "Lima", "Nairobi", "Oslo", "Toronto", "Hanoi", "Zagreb", "Perth")
_EXERCISES: Final = ("squat", "deadlift", "bench press", "row", "pull-up", "lunge", "plank", "clean and jerk")
_CLIENTS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Gymkhana/4.2 (Android 15; Pixel 9)",
)


def built(directory: Path, size_mb: int) -> Path:
    """The database of that size, closed and without a log; made now when it is not there. It is not to be changed."""
    path = directory / f"events-{RECIPE}-{size_mb}mb.db"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        _build(partial, size_mb)
        partial.replace(path)
    return path


def connect(path: Path) -> Any:
    """A connection as a service has it: every commit is durable when it returns."""
    connection = sqlite.connect(str(path), isolation_level=None, timeout=30)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def scatter(path: Path, share: float, seed: int) -> float:
    """Change rows all over the database until that share of its pages is another one; the share that really is.

    One commit, then a checkpoint that leaves no log behind. Nothing moves: the new values are as long as the old.
    """
    chance = random.Random(seed)
    with closing(connect(path)) as database:
        database.execute("PRAGMA wal_autocheckpoint = 0")
        ((pages,),) = database.execute("PRAGMA page_count")
        ((rows,),) = database.execute("SELECT max(id) FROM events")
        wanted = round(pages * share)
        stride = rows / wanted
        database.execute("BEGIN")
        for number in range(wanted):
            row = 1 + int((number + chance.random()) * stride)
            amount = chance.randint(_SMALLEST, _LARGEST)
            database.execute("UPDATE events SET amount = ? WHERE id = ?", (amount, min(row, rows)))
        database.execute("COMMIT")
        ((_, frames, _),) = database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return float(frames / pages)


def add_event(database: Any, number: int) -> None:
    """Write one event, in a commit of its own."""
    event = _event(random.Random(number), number, USERS_PER_MB)
    database.execute("INSERT INTO events (user_id, kind, at, amount, payload) VALUES (?, ?, ?, ?, ?)", event)


def _build(path: Path, size_mb: int) -> None:
    chance, users = random.Random(RECIPE), size_mb * USERS_PER_MB
    with closing(connect(path)) as database:
        database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -262144"):
            database.execute(f"PRAGMA {pragma}")
        database.executescript(SCHEMA)
        database.execute("BEGIN")
        database.executemany("INSERT INTO users VALUES (?, ?, ?, ?)", _users(chance, users))
        number = 0
        while database.execute("PRAGMA page_count").fetchone()[0] * PAGE_BYTES < size_mb * 1_000_000:
            events = [(number + place, *_event(chance, number + place, users)) for place in range(1, _BATCH + 1)]
            database.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", events)
            told = [(row, user, f"{kind}: {amount} points") for row, user, kind, _, amount, _ in events[::5]]
            database.executemany("INSERT INTO notifications (event_id, user_id, text) VALUES (?, ?, ?)", told)
            number += _BATCH
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")


def _users(chance: random.Random, users: int) -> Iterator[tuple[int, str, str, str]]:
    for number in range(1, users + 1):
        name = f"{chance.choice(_PLACES).lower()}-{chance.choice(_EXERCISES).replace(' ', '-')}-{number}"
        yield number, name, f"{name}@example.org", _instant(chance, number)


def _event(chance: random.Random, number: int, users: int) -> tuple[int, str, str, int, str]:
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
    return chance.randint(1, users), kind, at, chance.randint(_SMALLEST, _LARGEST), json.dumps(payload)


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
