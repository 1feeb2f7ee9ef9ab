"""Real SQLite databases for the tests, and what they hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pysqlite3 import dbapi2 as sqlite

SCHEMA = """
CREATE TABLE operations (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE);
CREATE TABLE notes (id INTEGER PRIMARY KEY, operation INTEGER REFERENCES operations (sequence), text TEXT, extra BLOB);
CREATE INDEX notes_by_text ON notes (text);
CREATE TABLE alembic_version (version_num TEXT PRIMARY KEY);
INSERT INTO alembic_version VALUES ('0002');
"""

Contents = dict[str, list[tuple[Any, ...]]]


def connect(path: Path) -> Any:
    return sqlite.connect(str(path), isolation_level=None, timeout=5)


def make(path: Path, rows: int = 200, *, journal: str = "wal") -> Path:
    """A closed database with that many operations, each with a note."""
    with closing(connect(path)) as database:
        database.execute(f"PRAGMA journal_mode = {journal}")
        database.executescript(SCHEMA)
    write(path, rows)
    return path


def write(path: Path, rows: int) -> None:
    """Add operations, each with a note, in one commit."""
    with closing(connect(path)) as database:
        insert(database, rows)


def insert(database: Any, rows: int) -> None:
    database.execute("BEGIN")
    for _ in range(rows):
        sequence = database.execute("INSERT INTO operations (id) VALUES (hex(randomblob(8)))").lastrowid
        database.execute(
            "INSERT INTO notes (operation, text, extra) VALUES (?, ?, ?)", (sequence, f"note {sequence}", b"\0\xff")
        )
    database.execute("COMMIT")


def contents(path: Path) -> Contents:
    """Every row of every table, as a service that opens the database would see them."""
    with closing(connect(path)) as database:
        tables = [
            name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")
        ]
        return {name: database.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall() for name in tables}


ROOT = Path(__file__).parents[2]
"""Where `python -m tests.…` is to be started."""

_WRITER = """
import sys, time
from pathlib import Path
from tests.backups import databases
database = databases.connect(Path(sys.argv[1]))
database.execute("PRAGMA wal_autocheckpoint = 0")
databases.insert(database, int(sys.argv[2]))
print("written", flush=True)
sys.stdin.read()
"""


@contextmanager
def service(path: Path, rows: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the database open and has committed `rows` operations, which are in its log only."""
    command = [sys.executable, "-c", _WRITER, str(path), str(rows)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"written\n"
            yield process
        finally:
            process.kill()


def crash(path: Path, rows: int) -> None:
    """Leave the database as a killed service leaves it: `rows` committed operations in a log that nobody closed."""
    with service(path, rows) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(true: Callable[[], bool], what: str, within_s: float = 20.0) -> None:
    """Return once it is true; fail when it is not within the time given."""
    end_t = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_t, f"{what} did not happen within {within_s} s"
        time.sleep(0.005)


def flip(path: Path, offset: int, mask: int = 0x01) -> None:
    """Flip bits of one byte of a closed file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= mask
    path.write_bytes(content)


def poke(path: Path, offset: int, content: bytes) -> None:
    """Overwrite some bytes of a file that others may have open."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
