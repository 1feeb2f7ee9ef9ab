"""The process that reads SQLite databases for the backup engine: one request on stdin, answers on stdout, then it ends.

It is a process of its own because opening and closing a database file drops every SQLite lock that the same process holds
on it, and because two builds of SQLite in one process do not see each other's locks. It uses pysqlite3 and nothing else.
It dies with its parent: the end of stdin means that nobody is left to read the answer.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec
from pysqlite3 import dbapi2 as sqlite

from backups import sqlite_facts
from backups.facts import differences
from backups.sqlite_facts import Connection
from backups.sqlite_messages import Answer, CheckCopy, Checked, Failed, Reopen, Request, Taken, TakeSnapshot, Ticked

_BUSY_TIMEOUT_S = 10.0
_TICK_S = 0.25
_NAMES = {
    "database or disk is full": "SQLITE_FULL",
    "disk I/O error": "SQLITE_IOERR",
    "database disk image is malformed": "SQLITE_CORRUPT",
    "database is locked": "SQLITE_BUSY",
}


def perform(request: Request) -> Answer:
    """Do what is asked. SQLite's own errors come out as they are."""
    if isinstance(request, TakeSnapshot):
        return take_snapshot(request)
    if isinstance(request, CheckCopy):
        return check_copy(request)
    return reopen(request)


def take_snapshot(request: TakeSnapshot) -> Answer:
    """One read transaction on the database: copy in a single step, and measure what was copied.

    A single step, because a backup in steps starts over whenever another process writes, for ever under load. Read-only,
    so that leaving as the last connection never checkpoints a database that is in the middle of an accident.
    """
    into = Path(request.into)
    with closing(_connect(Path(request.database), "mode=ro")) as source:
        taken_t = time.monotonic()
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        size_bytes = _size_bytes(source)
        with closing(_connect(into, "mode=rwc")) as copy:
            copy.execute("PRAGMA journal_mode = OFF")  # Scratch: after a crash it is thrown away, not recovered.
            copy.execute("PRAGMA synchronous = OFF")
            with _watching(into, size_bytes):
                source.backup(copy, pages=-1)
        facts = sqlite_facts.measure(
            source,
            request.position_of,
            read_bytes=lambda done: tell(Ticked(min(done, size_bytes), size_bytes, "measure")),
        )
        source.execute("ROLLBACK")
    with closing(_connect(into, "mode=ro&immutable=1")) as copy:
        faults = sqlite_facts.structural_faults(copy, deep=True)
        if faults:
            return Failed("DAMAGED", " ".join(faults))
        violations = sqlite_facts.foreign_key_violations(copy)
    return Taken(msgspec.structs.replace(facts, foreign_key_violations=violations), taken_t)


def check_copy(request: CheckCopy) -> Checked:
    """Structure first, then content: what SQLite cannot even read is a finding like any other."""
    try:
        with closing(_connect(Path(request.copy), "mode=ro&immutable=1")) as copy:
            size_bytes = _size_bytes(copy)
            faults = sqlite_facts.structural_faults(copy, deep=request.deep)
            if faults:
                return Checked(faults)
            found = sqlite_facts.measure(
                copy,
                request.facts.position_of,
                foreign_key_violations=sqlite_facts.foreign_key_violations(copy),
                read_bytes=lambda done: tell(Ticked(min(done, size_bytes), size_bytes, "check")),
            )
    except sqlite.DatabaseError as error:
        return Checked((f"SQLite cannot read the copy: {error}.",))
    return Checked(differences(request.facts, found))


def reopen(request: Reopen) -> Checked:
    """Read-write, as a service opens it, so that a log left over from another database would be applied and show."""
    try:
        with closing(_connect(Path(request.database), "mode=rw")) as database:
            faults = sqlite_facts.structural_faults(database, deep=False)
            if sqlite_facts.schema_digest(database) != request.facts.schema_digest:
                faults += ("The schema is not the one that the manifest describes.",)
            if _size_bytes(database) != request.facts.page_count * request.facts.page_size:
                faults += ("The number of pages is not the one that the manifest says.",)
    except sqlite.DatabaseError as error:
        return Checked((f"SQLite cannot open it: {error}.",))
    return Checked(faults)


def tell(answer: Answer) -> None:
    """One line to whoever asked."""
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def _connect(path: Path, query: str) -> Connection:
    uri = f"file:{quote(str(path))}?{query}"
    return sqlite.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S)


def _size_bytes(connection: Connection) -> int:
    page_count: int = connection.execute("PRAGMA page_count").fetchone()[0]
    page_size: int = connection.execute("PRAGMA page_size").fetchone()[0]
    return page_count * page_size


@contextmanager
def _watching(copy: Path, total_bytes: int) -> Iterator[None]:
    """Tell of the growing copy from a thread: a backup in one step never comes back to say how far it is."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_TICK_S):
            tell(Ticked(min(copy.stat().st_size, total_bytes), total_bytes, "copy"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _code_of(error: sqlite.Error) -> str:
    """SQLite's name of the error. What the driver raises out of a backup carries none, only the words."""
    name: str = getattr(error, "sqlite_errorname", "") or _NAMES.get(str(error), type(error).__name__)
    return name


def _die_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)


def main() -> int:
    """Answer the one request. Exit code 0 whenever an answer was given, a failure included."""
    line = sys.stdin.buffer.readline()
    if not line:
        return 1  # The asker died before it asked.
    request = msgspec.json.decode(line, type=Request)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        answer = perform(request)
    except sqlite.Error as error:
        answer = Failed(_code_of(error), str(error))
    tell(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
