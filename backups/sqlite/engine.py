"""The SQLite engine: asks an agent process for everything that needs the database opened."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from backups import lock, swap
from backups.engine import Base, Reading
from backups.errors import (
    BackupError,
    Busy,
    Damaged,
    DatabaseDamaged,
    NoSpace,
    NoSuchDatabase,
    NotADatabase,
    UsageError,
)
from backups.format.facts import Facts, TableContent
from backups.progress import Progress, silent
from backups.sqlite import conversation, messages
from backups.sqlite.conversation import Conversation
from backups.sqlite.holders import Holder, holders_of

_URL = re.compile(r"sqlite(?:\+\w+)?://(?P<slash>/?)(?P<path>[^?]*)")
_POSITION = re.compile(r"\w+\.\w+")
_AGENT = "backups.sqlite.agent"
_COMPANIONS = ("-wal", "-shm", "-journal")

LOG_CAP_BYTES: Final = 1 << 30
"""How far the log may grow at least while an image is read."""


class SqliteEngine:
    """Backs up one-file SQLite databases in any journal mode, while others write to them.

    `position_of` names a monotone column (`table.column`) whose highest value says how far the application had come. An
    agent that has not answered after `deadline_s` seconds is killed. While a snapshot is read, as fast as the store takes
    it, the log cannot begin anew: it is given up when the log has grown by `log_cap_bytes`, by default the size of the
    database, and at least a gigabyte.
    """

    kind = "sqlite"

    def __init__(
        self, *, position_of: str | None = None, deadline_s: float = 6 * 3600.0, log_cap_bytes: int | None = None
    ) -> None:
        if position_of is not None and not _POSITION.fullmatch(position_of):
            raise UsageError(f"A position is written table.column, and {position_of!r} is not.")
        self._position_of = position_of
        self._deadline_s = deadline_s
        self._log_cap_bytes = log_cap_bytes

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

    @contextmanager
    def undisturbed(self, database: Path, purpose: str) -> Iterator[None]:
        with lock.hold(swap.restore_lock_of(database), purpose, shared=True):
            swap.require_whole(database)
            yield

    def size_bytes(self, database: Path) -> int:
        _require_file(database)
        return sum(member.stat().st_size for member in self.members(database)[:2] if member.exists())

    @contextmanager
    def snapshot(
        self,
        database: Path,
        progress: Progress = silent,
        base: Base | None = None,  # noqa: ARG002  no server, no increments of its own
    ) -> Iterator[Reading]:
        if self.size_bytes(database) == 0:
            raise NotADatabase(f"{database} is empty, so there is nothing to back up; restore it from a backup.")

        cap = max(LOG_CAP_BYTES, self.size_bytes(database)) if self._log_cap_bytes is None else self._log_cap_bytes

        def request(pipe: int) -> bytes:
            return msgspec.json.encode(messages.TakeSnapshot(str(database), pipe, self._position_of, cap))

        with conversation.talk(_AGENT, request, f"The snapshot of {database}", self._deadline_s) as agent:
            answer = _next_answer(agent, silent)
            if not isinstance(answer, messages.Opened):
                raise _refusal(answer, database)
            yield SqliteReading(database, agent, answer, progress)

    def check(self, copy: Path, facts: Facts | None, *, deep: bool, progress: Progress = silent) -> tuple[str, ...]:
        answer = self._ask(messages.CheckCopy(str(copy), facts, deep), progress, f"The check of {copy}")
        if isinstance(answer, messages.Checked):
            return answer.findings
        raise _refusal(answer, copy)

    def combine(self, images: Sequence[Path], into: Path, progress: Progress = silent) -> bytes:  # noqa: ARG002
        raise Damaged(f"{into} would be put together from increments of a server's own, which SQLite never makes.")

    def content(self, copy: Path, progress: Progress = silent) -> dict[str, TableContent]:
        answer = self._ask(messages.DigestCopy(str(copy)), progress, f"The digest of {copy}")
        if isinstance(answer, messages.Digested):
            return answer.content
        raise _refusal(answer, copy)

    def reopen(self, database: Path, facts: Facts | None) -> tuple[str, ...]:
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
        with conversation.talk(_AGENT, lambda _: msgspec.json.encode(request), what, self._deadline_s) as agent:
            return _next_answer(agent, progress)


class SqliteReading:
    """An image that an agent reads from the live database, block by block, as fast as they are taken.

    While it lasts the database's log cannot begin anew, so it grows with every commit.
    """

    native = False
    why_whole = ""
    sent = None

    def __init__(self, database: Path, agent: Conversation, opened: messages.Opened, progress: Progress) -> None:
        self.unit_bytes = opened.unit_bytes
        self.units = opened.units
        self.taken_t = opened.taken_t
        self._database = database
        self._agent = agent
        self._progress = progress
        self._whole = False
        self._facts: Facts | None = None

    def blocks(self) -> Iterator[memoryview]:
        done_bytes, total_bytes = 0, self.units * self.unit_bytes
        for block in self._agent.blocks():
            yield block
            done_bytes += len(block)
            self._progress(done_bytes, total_bytes, "read")
        self._whole = done_bytes == total_bytes
        if not self._whole:
            raise _refusal(_next_answer(self._agent, silent), self._database)

    def facts(self) -> Facts:
        assert self._whole, "the blocks come first"
        if self._facts is None:
            answer = _next_answer(self._agent, self._progress)
            if not isinstance(answer, messages.Taken):
                raise _refusal(answer, self._database)
            self._facts = answer.facts
        return self._facts


def _next_answer(agent: Conversation, progress: Progress) -> messages.Answer:
    while True:
        answer: messages.Answer = msgspec.json.decode(agent.answer(), type=messages.Answer)
        if not isinstance(answer, messages.Ticked):
            return answer
        progress(answer.done_bytes, answer.total_bytes, answer.phase)


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
    if answer.code == "LOG_GREW":
        return Busy(
            f"The backup of {database} was given up: {said} while the store took it, and nobody can shorten the log before. "
            "Back up to a nearer store first and copy from there (gymkhana backup resync), or at a quieter hour."
        )
    if answer.code == "LOG":
        return BackupError(
            f"{database} could not be read beside its writers: {said}. Run it again; if it stays so, restart the service."
        )
    if answer.code.startswith("SQLITE_READONLY"):
        return BackupError(
            f"{database} was left half-way through a commit by a service that was killed, and whoever opens it for writing "
            f"next undoes that ({said}): start the service once, then run this again."
        )
    if answer.code == "SQLITE_FULL":
        return NoSpace(
            f"There was no room for a copy of {database} ({said}); nothing older was touched. Free some space where the "
            "store stages its work and run it again."
        )
    if answer.code.startswith("SQLITE_IOERR"):
        return BackupError(f"{database} could not be read ({said}): the disk it lies on is failing.")
    if answer.code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Busy(f"{database} stayed locked ({said}); find who holds it and run this again.")
    return BackupError(f"SQLite failed on {database}: {said} ({answer.code}).")
