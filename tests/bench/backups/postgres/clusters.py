"""A cluster worth backing up: the benchmark's rows in PostgreSQL, with checksums, built once for each size and version."""

from __future__ import annotations

import filecmp
import os
import random
import shutil
from pathlib import Path
from typing import Any, Final

import psycopg

from backups.postgres.binaries import Binaries, own
from backups.postgres.server import Server
from ci.loopback import free_ports
from tests.backups.databases import wait_until
from tests.bench.backups import rows

SCHEMA: Final = """
CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, joined_at timestamptz NOT NULL);
CREATE TABLE events (
    id bigint PRIMARY KEY, user_id bigint NOT NULL REFERENCES users (id), kind text NOT NULL, at timestamptz NOT NULL,
    amount integer NOT NULL, payload jsonb NOT NULL
);
CREATE TABLE notifications (
    id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users (id), event_id bigint NOT NULL REFERENCES events (id),
    text text NOT NULL
);
CREATE TABLE checks (number bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
CREATE INDEX events_by_user ON events (user_id, id);
CREATE INDEX events_by_kind ON events (kind, at);
CREATE INDEX notifications_by_user ON notifications (user_id);
"""
RECOVERS_WITHIN_S: Final = 120.0
PAGE_BYTES: Final = 8192
_FLEETING: Final = "pg_internal.init"
_BATCH: Final = 5_000
_QUICK: Final = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "8GB", "autovacuum": "off"}
_ADDED: Final = 500
_CHANGED: Final = 20
_COPY: Final = (
    "INSERT INTO events SELECT id + %(above)s::bigint, user_id, kind, at, amount, payload FROM events"
    " WHERE id > %(from)s::bigint AND id <= %(from)s::bigint + %(count)s"
)
_TOUCH: Final = "UPDATE events SET amount = amount + 1 WHERE id = ANY(%s)"


def built(directory: Path, size_mb: int, programs: Binaries) -> Path:
    """The directory of a `Server` of that size, shut down; made now when it is not there. It is not to be changed."""
    path = directory / f"cluster-{rows.RECIPE}-{programs.version}-{size_mb}mb"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        server = Server(partial, free_ports(1)[0], programs)
        server.init()
        try:
            server.start(**_QUICK)
            server.create_database()
            with server.connect() as connection:
                _fill(connection, size_mb)
            server.stop()
        finally:
            server.close()
        os.sync()
        partial.rename(path)
    return path


def copied(built_at: Path, into: Path, programs: Binaries) -> Server:
    """A server of its own on a copy of the cluster; it does not run yet."""
    shutil.copytree(built_at, into, symlinks=True)
    own(into)
    return Server(into, free_ports(1)[0], programs)


def files(directory: Path) -> list[Path]:
    """Every file below it, but those that a server at work makes and drops as it likes."""
    return [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(_FLEETING)]


def size_bytes(directory: Path) -> int:
    """Bytes of every file below it."""
    return sum(path.stat().st_size for path in files(directory))


def checked_write(connection: psycopg.Connection[Any]) -> int:
    """One row was accepted, committed, and read back; its number."""
    row = connection.execute("INSERT INTO checks DEFAULT VALUES RETURNING number").fetchone()
    assert row is not None
    back = connection.execute("SELECT number FROM checks WHERE number = %s", row).fetchone()
    assert back == row
    return int(row[0])


def await_writes(server: Server) -> None:
    """The server, which answers, is done with its recovery."""

    def writes() -> bool:
        with server.connect("postgres") as connection:
            return bool(_one(connection, "SELECT NOT pg_is_in_recovery()")[0])

    wait_until(writes, f"the end of the recovery of {server.data}", RECOVERS_WITHIN_S)


def switch_segment(server: Server) -> str:
    """The segment of the log that was written to until now is full; its name."""
    with server.connect() as connection:
        return str(_one(connection, "SELECT pg_walfile_name(pg_switch_wal())")[0])


def scatter(server: Server, share: float, seed: int) -> None:
    """One event in so many pages is changed, all over the table, in one commit that a checkpoint follows."""
    chance = random.Random(seed)
    with server.connect() as connection:
        pages, last = _one(connection, "SELECT pg_relation_size('events') / 8192, (SELECT max(id) FROM events)")
        wanted = max(1, round(pages * share))
        stride = last / wanted
        touched = [min(last, 1 + int((number + chance.random()) * stride)) for number in range(wanted)]
        connection.execute(_TOUCH, (touched,))
        connection.execute("CHECKPOINT")


def changed_bytes(before: Path, after: Path) -> int:
    """Bytes of the pages of `after`'s databases that `before`'s do not have at their place."""
    changed = 0
    for path in files(after / "base"):
        old = before / "base" / path.relative_to(after / "base")
        if not old.exists():
            changed += path.stat().st_size
        elif not filecmp.cmp(old, path, shallow=False):
            changed += _unlike(old.read_bytes(), path.read_bytes())
    return changed


def write_log(server: Server, wal_bytes: int, seed: int) -> int:
    """At least so much log is written: events added and others changed, a commit for every few hundred. The bytes."""
    chance = random.Random(seed)
    with server.connect() as connection:
        begin, last = _one(connection, "SELECT pg_current_wal_insert_lsn()::text, (SELECT max(id) FROM events)")
        above = last
        while True:
            written = int(_one(connection, "SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", begin)[0])
            if written >= wal_bytes:
                return written
            first = chance.randrange(max(1, last - _ADDED))
            with connection.transaction():
                connection.execute(_COPY, {"above": above - first, "from": first, "count": _ADDED})
                connection.execute(_TOUCH, ([chance.randint(1, last) for _ in range(_CHANGED)],))
            above += _ADDED


def _unlike(old: bytes, new: bytes) -> int:
    size = PAGE_BYTES
    return sum(
        len(new[at : at + size]) for at in range(0, len(new), size) if new[at : at + size] != old[at : at + size]
    )


def _one(connection: psycopg.Connection[Any], query: str, *values: object) -> tuple[Any, ...]:
    row = connection.execute(query, values or None).fetchone()
    assert row is not None
    return tuple(row)


def _fill(connection: psycopg.Connection[Any], size_mb: int) -> None:
    chance, users = random.Random(rows.RECIPE), size_mb * rows.USERS_PER_MB
    connection.execute(SCHEMA)
    with connection.cursor() as cursor, cursor.copy("COPY users FROM STDIN") as lines:
        for user in rows.users(chance, users):
            lines.write_row(user)
    number = 0
    while int(_one(connection, "SELECT pg_database_size(current_database())")[0]) < size_mb * 1_000_000:
        events = [(number + place, *rows.event(chance, number + place, users)) for place in range(1, _BATCH + 1)]
        with connection.cursor() as cursor:
            with cursor.copy("COPY events FROM STDIN") as lines:
                for event in events:
                    lines.write_row(event)
            with cursor.copy("COPY notifications (event_id, user_id, text) FROM STDIN") as lines:
                for told in rows.notifications(events):
                    lines.write_row(told)
        number += _BATCH
    connection.execute("VACUUM (ANALYZE, FREEZE)")
