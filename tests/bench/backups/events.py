"""A database worth backing up: users, events with JSON payloads, notifications, indexes; about 3.5 : 1 under zstd.

The rows are made from a seed, so that every machine measures the same database. It is built once for each size and kept.
"""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from pysqlite3 import dbapi2 as sqlite

from tests.bench.backups import rows

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
_BATCH: Final = 1_000


def built(directory: Path, size_mb: int) -> Path:
    """The database of that size, closed and without a log; made now when it is not there. It is not to be changed."""
    path = directory / f"events-{rows.RECIPE}-{size_mb}mb.db"
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
        ((last,),) = database.execute("SELECT max(id) FROM events")
        wanted = round(pages * share)
        stride = last / wanted
        database.execute("BEGIN")
        for number in range(wanted):
            row = 1 + int((number + chance.random()) * stride)
            amount = chance.randint(rows.SMALLEST, rows.LARGEST)
            database.execute("UPDATE events SET amount = ? WHERE id = ?", (amount, min(row, last)))
        database.execute("COMMIT")
        ((_, frames, _),) = database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return float(frames / pages)


def add_event(database: Any, number: int) -> None:
    """Write one event, in a commit of its own."""
    event = rows.event(random.Random(number), number, rows.USERS_PER_MB)
    database.execute("INSERT INTO events (user_id, kind, at, amount, payload) VALUES (?, ?, ?, ?, ?)", event)


def _build(path: Path, size_mb: int) -> None:
    chance, users = random.Random(rows.RECIPE), size_mb * rows.USERS_PER_MB
    with closing(connect(path)) as database:
        database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -262144"):
            database.execute(f"PRAGMA {pragma}")
        database.executescript(SCHEMA)
        database.execute("BEGIN")
        database.executemany("INSERT INTO users VALUES (?, ?, ?, ?)", rows.users(chance, users))
        number = 0
        while database.execute("PRAGMA page_count").fetchone()[0] * PAGE_BYTES < size_mb * 1_000_000:
            events = [(number + place, *rows.event(chance, number + place, users)) for place in range(1, _BATCH + 1)]
            database.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", events)
            told = rows.notifications(events)
            database.executemany("INSERT INTO notifications (event_id, user_id, text) VALUES (?, ?, ?)", told)
            number += _BATCH
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode = WAL")
