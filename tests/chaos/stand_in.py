"""A small service of real processes, for faults to be played on: `python -m tests.chaos.stand_in ROLE ...`.

The supervisor is the service's own. The writer commits one row after the other to a real database in WAL mode and appends
each row's number to a file once it is committed: what it acknowledged. It reads its failpoints as the service does.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from pysqlite3 import dbapi2 as sqlite

from system import processes, supervisor

DATABASE = "STAND_IN_DATABASE"
ROWS_AT_FIRST = 400
PAUSE_S = 0.002


def connect(database: Path) -> Any:
    connection = sqlite.connect(f"file:{database}?mode=rw", uri=True, isolation_level=None, timeout=5)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def make(database: Path) -> None:
    """A closed database of some hundred pages, a few of them free."""
    connection = sqlite.connect(str(database), isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    connection.execute("CREATE INDEX rows_by_text ON rows (text)")
    connection.execute("BEGIN")
    for number in range(1, ROWS_AT_FIRST + 41):
        insert(connection, number)
    connection.execute("COMMIT")
    connection.execute("DELETE FROM rows WHERE number > ?", (ROWS_AT_FIRST,))
    connection.close()


def insert(connection: Any, number: int) -> None:
    connection.execute("INSERT INTO rows VALUES (?, ?)", (number, f"{number} " + "padding " * 100))


def acknowledged(database: Path) -> list[int]:
    """The numbers of the rows whose commit was acknowledged."""
    try:
        return [int(line) for line in database.with_suffix(".acknowledged").read_text().split()]
    except FileNotFoundError:
        return []


def write(database: Path, directory: Path) -> None:
    """Commits rows until something is wrong with the database; fails where a failpoint in `directory` says so."""
    from system.failpoints import FAIL_IN_TRANSACTION, KILL_CONNECTIONS, Failpoints

    failpoints = Failpoints(directory)
    connection = connect(database)
    number = connection.execute("SELECT max(number) FROM rows").fetchone()[0]
    with database.with_suffix(".acknowledged").open("a") as acknowledgements:
        while True:
            number += 1
            try:
                connection.execute("BEGIN IMMEDIATE")
                insert(connection, number)
                if failpoints.hit(KILL_CONNECTIONS, f"row-{number}", "rows"):
                    connection.close()
                    connection = connect(database)
                    continue
                if failpoints.hit(FAIL_IN_TRANSACTION, f"row-{number}", "rows"):
                    connection.execute("ROLLBACK")
                    continue
                connection.execute("COMMIT")
            except sqlite.OperationalError as error:
                if "locked" not in str(error):
                    raise
                continue
            acknowledgements.write(f"{number}\n")
            acknowledgements.flush()
            time.sleep(PAUSE_S)


def main(role: str) -> int:
    if role == "supervisor":
        sys.argv = ["supervisor", *sys.argv[2:]]
        return supervisor.main({"writer": "tests.chaos.stand_in_writer", "http": "tests.chaos.stand_in_reader"})
    processes.end_with_parent()
    database = Path(os.environ[DATABASE])
    try:
        if role == "writer":
            write(database, Path(os.environ["GYM_FAILPOINTS"]))
        connection = connect(database)
        while True:
            connection.execute("SELECT count(*) FROM rows").fetchone()
            time.sleep(0.05)
    except sqlite.DatabaseError as error:
        processes.say(f"{role}: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
