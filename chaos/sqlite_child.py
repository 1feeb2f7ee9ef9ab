"""One question to SQLite, in a process of its own: `python -m chaos.sqlite_child VERB DATABASE [SECONDS]`.

Each verb prints one line of JSON:

    check      what is wrong with the database, as a service that opens it would find, and how many tables it has
    empty-log  whether the log could be moved into the main file altogether
    log        how many frames of the log SQLite accepts (it moves them: for private copies only)
    locked     whether somebody else has the write lock now
    hold       when it got the write lock, which it takes after a line on standard input, and holds until the input ends or
               SECONDS are over

Little is imported here, for it runs while something is broken and somebody waits.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import sys
import time
from typing import Any
from urllib.parse import quote

from pysqlite3 import dbapi2 as sqlite

BUSY_S = 2.0
CHECKPOINT_BUSY_S = 0.25
"""While a checkpoint waits for readers, it keeps writers out."""
DAMAGE_CODES = frozenset({10, 11, 14, 26})
"""SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_CANTOPEN and SQLITE_NOTADB."""


def connect(database: str, busy_s: float = BUSY_S) -> Any:
    """A connection to a database that exists; nothing is ever created."""
    return sqlite.connect(f"file:{quote(database)}?mode=rw", uri=True, isolation_level=None, timeout=busy_s)


def check(database: str) -> dict[str, Any]:
    try:
        with contextlib.closing(connect(database)) as connection:
            findings = [row[0] for row in connection.execute("PRAGMA integrity_check(20)")]
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
    except sqlite.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in DAMAGE_CODES:
            raise  # Busy, or out of memory: that says nothing about the database.
        return {"findings": [str(error)], "tables": 0}
    return {"findings": [] if findings == ["ok"] else findings, "tables": tables}


def empty_log(database: str) -> bool:
    with contextlib.closing(connect(database, CHECKPOINT_BUSY_S)) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def log(database: str) -> int:
    with contextlib.closing(connect(database)) as connection:
        _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return max(int(frames), 0)


def locked(database: str) -> bool:
    with contextlib.closing(connect(database, busy_s=0.0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite.OperationalError as error:
            return "locked" in str(error)
        connection.execute("ROLLBACK")
    return False


def hold(database: str, seconds: float) -> None:
    if not sys.stdin.readline():
        return  # Whoever wanted the lock is gone.
    # Should anything below hang, the kernel ends this process, and the lock with it.
    signal.setitimer(signal.ITIMER_REAL, seconds + 1.0)
    deadline = time.monotonic() + seconds
    with contextlib.closing(connect(database, busy_s=seconds)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        say({"t": time.monotonic()})
        select.select([sys.stdin], [], [], max(deadline - time.monotonic(), 0.0))
        connection.execute("ROLLBACK")


def say(answer: Any) -> None:
    """The answer, on its way at once."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(verb: str, database: str, seconds: str = "1") -> None:
    """Answers one question and ends."""
    if verb == "hold":
        hold(database, float(seconds))
    else:
        say({"check": check, "empty-log": empty_log, "log": log, "locked": locked}[verb](database))


if __name__ == "__main__":
    main(*sys.argv[1:])
