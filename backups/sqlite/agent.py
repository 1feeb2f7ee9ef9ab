"""The process that reads SQLite databases for the backup engine: one request on stdin, answers on stdout, then it ends.
An image goes over a pipe of its own.

It is a process of its own because opening and closing a database file drops every SQLite lock that the same process holds
on it, and because two builds of SQLite in one process do not see each other's locks. It uses pysqlite3 and nothing else.
It dies with its parent: the end of stdin means that nobody is left to read the answer.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import msgspec
from pysqlite3 import dbapi2 as sqlite

from backups.format.facts import differences
from backups.sqlite import facts as sqlite_facts
from backups.sqlite import image as sqlite_image
from backups.sqlite.conversation import LENGTH
from backups.sqlite.facts import Connection
from backups.sqlite.messages import (
    Answer,
    CheckCopy,
    Checked,
    DigestCopy,
    Digested,
    Failed,
    Opened,
    Reopen,
    Request,
    Taken,
    TakeSnapshot,
    Ticked,
)
from backups.sqlite.wal import BrokenLog

_BUSY_TIMEOUT_S = 10.0
_MAPPED_BYTES = 1 << 40


def perform(request: Request) -> Answer:
    """Do what is asked. SQLite's own errors come out as they are."""
    if isinstance(request, TakeSnapshot):
        return take_snapshot(request)
    if isinstance(request, CheckCopy):
        return check_copy(request)
    if isinstance(request, DigestCopy):
        return digest_copy(request)
    return reopen(request)


def take_snapshot(request: TakeSnapshot) -> Answer:
    """One read transaction on the database: this thread sends the image, another has SQLite check and measure it.

    Read-only, so that leaving as the last connection never checkpoints a database that is in the middle of an accident. The
    connection belongs to the other thread alone; this one reads the files, and keeps them open until the connection is gone.
    """
    with sqlite_image.Files(Path(request.database)) as files, ThreadPoolExecutor(max_workers=1) as reader:
        source = reader.submit(_connect, Path(request.database), "mode=ro").result()
        try:
            image = reader.submit(sqlite_image.pin, source, files).result()
            tell(Opened(image.unit_bytes, image.units, image.taken_t))
            survey = reader.submit(measure, source, request.position_of)
            log = Log(Path(request.database), request.log_cap_bytes)

            def useless() -> bool:
                return log.too_long or (survey.done() and not isinstance(survey.result(), Taken))

            send(image.blocks(), request.pipe, stop=useless)
            return log.refusal if log.too_long else survey.result()
        finally:
            reader.submit(source.close).result()


class Log:
    """The log beside a database, and how far it has grown: while an image is read it cannot begin anew."""

    def __init__(self, database: Path, cap_bytes: int) -> None:
        self._path = database.with_name(f"{database.name}-wal")
        self._cap_bytes = cap_bytes
        self._at_first = self._size_bytes()

    @property
    def too_long(self) -> bool:
        """Whether it has grown by more than it may."""
        return self._size_bytes() - self._at_first > self._cap_bytes

    @property
    def refusal(self) -> Failed:
        """What to say then."""
        return Failed("LOG_GREW", f"its log grew by more than {self._cap_bytes / 1e6:.0f} MB")

    def _size_bytes(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0


def measure(source: Connection, position_of: str | None) -> Answer:
    """The facts of a database that SQLite finds sound."""
    faults = sqlite_facts.structural_faults(source, deep=False)
    if faults:
        return Failed("DAMAGED", " ".join(faults))
    violations = sqlite_facts.foreign_key_violations(source)
    return Taken(sqlite_facts.measure(source, position_of, foreign_key_violations=violations))


def send(blocks: Iterable[memoryview], pipe: int, stop: Callable[[], bool]) -> None:
    """Send all of them, unless they are of no use any more: then the pipe ends without a last word."""
    try:
        for block in blocks:
            if stop():
                return
            _write(pipe, LENGTH.pack(len(block)))
            _write(pipe, block)
        _write(pipe, LENGTH.pack(0))
    finally:
        os.close(pipe)


def check_copy(request: CheckCopy) -> Checked:
    """Structure first, then content: what SQLite cannot even read is a finding like any other."""
    try:
        with closing(_connect(Path(request.copy), "mode=ro&immutable=1")) as copy:
            faults = sqlite_facts.structural_faults(copy, deep=request.deep)
            if faults or request.facts is None:
                return Checked(faults)
            violations = sqlite_facts.foreign_key_violations(copy)
            found = sqlite_facts.measure(copy, request.facts.position_of, foreign_key_violations=violations)
    except sqlite.DatabaseError as error:
        return Checked((f"SQLite cannot read the copy: {error}.",))
    return Checked(differences(request.facts, found))


def digest_copy(request: DigestCopy) -> Digested:
    """What every table holds."""
    with closing(_connect(Path(request.copy), "mode=ro&immutable=1")) as copy:
        size_bytes = _size_bytes(copy)
        return Digested(
            sqlite_facts.content(copy, lambda done: tell(Ticked(min(done, size_bytes), size_bytes, "digest")))
        )


def reopen(request: Reopen) -> Checked:
    """Read-write, as a service opens it, so that a log left over from another database would be applied and show."""
    try:
        with closing(_connect(Path(request.database), "mode=rw")) as database:
            faults = sqlite_facts.structural_faults(database, deep=False)
            if request.facts is None:
                return Checked(faults)
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
    """Mapped into memory: checks that read every page take half the time. Should the file be cut short underneath, this
    process dies of it, and whoever asked is told that it did."""
    uri = f"file:{quote(str(path))}?{query}"
    connection = sqlite.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S)
    connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
    return connection


def _size_bytes(connection: Connection) -> int:
    page_count: int = connection.execute("PRAGMA page_count").fetchone()[0]
    page_size: int = connection.execute("PRAGMA page_size").fetchone()[0]
    return page_count * page_size


def _write(pipe: int, content: bytes | memoryview) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(pipe, left) :]


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
        answer = Failed(getattr(error, "sqlite_errorname", type(error).__name__), str(error))
    except BrokenLog as error:
        answer = Failed("LOG", str(error))
    except BrokenPipeError:
        return 1  # Nobody takes the blocks any more.
    except OSError as error:
        answer = Failed("SQLITE_IOERR_READ", error.strerror or str(error))
    tell(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
