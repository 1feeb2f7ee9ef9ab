"""The SQLite engine: asks an agent process for everything that needs the database opened."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from backups import sqlite_messages as messages
from backups.engine import Reading
from backups.errors import BackupError, Busy, DatabaseDamaged, NoSpace, NoSuchDatabase, NotADatabase, UsageError
from backups.facts import Facts
from backups.holders import Holder, holders_of
from backups.progress import Progress, silent

_URL = re.compile(r"sqlite(?:\+\w+)?://(?P<slash>/?)(?P<path>[^?]*)")
_POSITION = re.compile(r"\w+\.\w+")
_AGENT = "backups.sqlite_agent"
_COMPANIONS = ("-wal", "-shm", "-journal")


class SqliteEngine:
    """Backs up one-file SQLite databases in any journal mode, while others write to them.

    `position_of` names a monotone column (`table.column`) whose highest value says how far the application had come. An
    agent that has not answered after `deadline_s` seconds is killed: a snapshot holds back the WAL's reset while it reads.
    """

    kind = "sqlite"

    def __init__(self, *, position_of: str | None = None, deadline_s: float = 900.0) -> None:
        if position_of is not None and not _POSITION.fullmatch(position_of):
            raise UsageError(f"A position is written table.column, and {position_of!r} is not.")
        self._position_of = position_of
        self._deadline_s = deadline_s

    def path_of(self, database: str) -> Path:
        match = _URL.fullmatch(database.partition("?")[0])
        if "://" in database and not match:
            raise UsageError(
                f"{database} is not the URL of an SQLite database: sqlite:///relative or sqlite:////absolute."
            )
        path = match["path"] if match else database
        if path in ("", ":memory:"):
            raise UsageError("A database in memory cannot be backed up or restored; name a file.")
        # SQLite puts the log beside the file that a link leads to, so that is the place to know.
        return Path(path).resolve()

    def size_bytes(self, database: Path) -> int:
        _require_file(database)
        return sum(member.stat().st_size for member in self.members(database)[:2] if member.exists())

    @contextmanager
    def snapshot(self, database: Path, progress: Progress = silent) -> Iterator[Reading]:
        from backups.consolidate import FileReading

        if self.size_bytes(database) == 0:
            raise NotADatabase(f"{database} is empty, so there is nothing to back up; restore it from a backup.")
        with tempfile.TemporaryDirectory() as place:
            into = Path(place, "copy")
            request = messages.TakeSnapshot(str(database), str(into), self._position_of)
            answer = self._ask(request, progress, f"The snapshot of {database}")
            if not isinstance(answer, messages.Taken):
                raise _refusal(answer, database)
            facts = answer.facts
            yield FileReading(into, facts.page_size, facts.page_count, answer.taken_t, facts)

    def check(self, copy: Path, facts: Facts, *, deep: bool, progress: Progress = silent) -> tuple[str, ...]:
        answer = self._ask(messages.CheckCopy(str(copy), facts, deep), progress, f"The check of {copy}")
        if isinstance(answer, messages.Checked):
            return answer.findings
        raise _refusal(answer, copy)

    def reopen(self, database: Path, facts: Facts) -> tuple[str, ...]:
        answer = self._ask(messages.Reopen(str(database), facts), silent, f"Reopening {database}")
        if isinstance(answer, messages.Checked):
            return answer.findings
        raise _refusal(answer, database)

    def members(self, database: Path) -> tuple[Path, ...]:
        return (database, *(database.with_name(database.name + companion) for companion in _COMPANIONS))

    def holders(self, database: Path) -> tuple[Holder, ...]:
        return holders_of(self.members(database))

    def _ask(self, request: messages.Request, progress: Progress, what: str) -> messages.Answer:
        """The agent's answer. Its ticks go to `progress` on the way."""
        # -P: a directory called `backups` where we happen to stand is not the package. A group of its own: Ctrl-C is for
        # us, and ends the agent through us.
        command = [sys.executable, "-P", "-m", _AGENT]
        late = threading.Event()
        try:
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as process:
                with _killed_after(process, self._deadline_s, late):
                    return _converse(process, request, progress)
        except (EOFError, BrokenPipeError) as error:
            if late.is_set():
                raise Busy(f"{what} took longer than {self._deadline_s:g} s and was given up.") from error
            raise BackupError(f"{what} failed: its process ended with code {process.returncode}.") from error


@contextmanager
def _killed_after(process: subprocess.Popen[bytes], deadline_s: float, late: threading.Event) -> Iterator[None]:
    """Kill the process when the block takes too long, which `late` then tells, and in any case when the block ends."""

    def kill() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(deadline_s, kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        process.kill()


def _converse(process: subprocess.Popen[bytes], request: messages.Request, progress: Progress) -> messages.Answer:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(msgspec.json.encode(request) + b"\n")
    process.stdin.flush()
    for line in process.stdout:
        answer: messages.Answer = msgspec.json.decode(line, type=messages.Answer)
        if not isinstance(answer, messages.Ticked):
            return answer
        progress(answer.done_bytes, answer.total_bytes, answer.phase)
    process.wait()
    raise EOFError


def _require_file(database: Path) -> None:
    if database.is_dir():
        raise NotADatabase(f"{database} is a directory, and an SQLite database is a file.")
    if not database.exists():
        raise NoSuchDatabase(f"There is no database at {database}; name it with --database or DATABASE_URL.")


def _refusal(answer: messages.Answer, database: Path) -> BackupError:
    assert isinstance(answer, messages.Failed)
    said = answer.message.rstrip(".")
    if answer.code == "SQLITE_NOTADB":
        return NotADatabase(f"{database} is not an SQLite database ({said}).")
    if answer.code == "DAMAGED" or answer.code.startswith("SQLITE_CORRUPT"):
        return DatabaseDamaged(
            f"{database} is damaged, so no backup was made of it; the older ones are untouched, restore one. SQLite: {said}."
        )
    if answer.code == "SQLITE_FULL":
        return NoSpace(
            f"There was no room for a copy of {database} ({said}); nothing older was touched. Free some space where the "
            "store stages its work and run it again."
        )
    if answer.code.startswith("SQLITE_IOERR"):
        return BackupError(
            f"{database} could not be copied ({said}): the disk it lies on is failing, or the one that stages the copy."
        )
    if answer.code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Busy(f"{database} stayed locked ({said}); find who holds it and run this again.")
    return BackupError(f"SQLite failed on {database}: {said} ({answer.code}).")
