"""The live end of a database's log: what is committed, its frames, and the one checkpointer that never loses any.

    holding     a read transaction with a mark in the log, so that nobody can overwrite it from its start
    checkpoint  stop the writers -> (ship the rest) -> let go -> copy to the main file -> let the writers go -> hold again

Whoever writes after a complete checkpoint begins the next round of the log. A reader that begins before that has no mark and
protects nothing, hence the empty commit (`_mark`) before holding again.

The descriptor of the index is never closed: closing it would drop every lock that SQLite holds on it for this process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pysqlite3 import dbapi2 as sqlite

from backups.errors import Busy, LogLost, NoSuchDatabase, NotADatabase
from backups.log import stretch
from backups.sqlite import wal
from backups.sqlite.wal import BrokenLog, Checksum, ShmHeader

Identity = tuple[int, int]
Then = Callable[[], None]

_BUSY_TIMEOUT_S: Final = 5.0
_INDEX_ATTEMPTS: Final = 200
_MARK_PATIENCE_S: Final = 0.1
_LOOK_AGAIN_S: Final = 0.0002
_HOLD_ATTEMPTS: Final = 20


class Tail:
    """The log of one database in WAL mode, watched for as long as this object lives.

    Raises NoSuchDatabase or NotADatabase when there is nothing to watch, and LogLost from any method once the files are no
    longer those that were opened. To be used by one thread.
    """

    def __init__(self, database: Path, *, position_of: str | None = None) -> None:
        self.database = database
        self._position_of = position_of
        self._log_path = database.with_name(f"{database.name}-wal")
        self._index_path = database.with_name(f"{database.name}-shm")
        if not database.is_file():
            raise NoSuchDatabase(f"There is no database at {database} to watch; name it with --database.")
        self._holds = False
        with _plainly(database):
            self.identity = _require_identity(database)
            self._holder, self._writer, self._copier = (_connect(database) for _ in range(3))
            self._writer.execute("PRAGMA busy_timeout = 0")
            mode = self._holder.execute("PRAGMA journal_mode").fetchone()[0]
            if mode != "wal":
                raise NotADatabase(
                    f"{database} is not in WAL mode but in {mode}: only a write-ahead log can be shipped."
                )
            self._holder.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            self.page_size: int = self._holder.execute("PRAGMA page_size").fetchone()[0]
        self._index = _open(self._index_path)
        self._log = _open(self._log_path)
        self._identities = {
            database: self.identity,
            self._log_path: _identity_of(self._log),
            self._index_path: _identity_of(self._index),
        }

    @property
    def holds(self) -> bool:
        """Whether the log is kept from being overwritten."""
        return self._holds

    def close(self) -> None:
        """Let go of the database. The last one to do so checkpoints it and removes the log."""
        for connection in (self._holder, self._writer, self._copier):
            connection.close()
        os.close(self._log)

    def require_same_files(self) -> None:
        """Return while the files at their places are those that were opened. Raises LogLost."""
        for path, identity in self._identities.items():
            found = _identity(path)
            if found != identity:
                raise LogLost(f"{path} was {'replaced' if found else 'removed'}.")

    def index(self) -> ShmHeader:
        """What is committed now."""
        self.require_same_files()
        for _ in range(_INDEX_ATTEMPTS):
            try:
                header = ShmHeader.read(os.pread(self._index, wal.SHM_BYTES, 0))
            except BrokenLog as error:
                raise LogLost(str(error)) from error
            if header is not None:
                if header.page_size != self.page_size and header.mx_frame:
                    raise LogLost(f"The page size of {self.database} changed.")
                return header
            time.sleep(0.0005)  # Somebody is between the two copies, or died there: then the next reader mends it.
            with _plainly(self.database):
                self._copier.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        raise LogLost(f"The index {self._index_path} cannot be read.")

    def log_bytes(self) -> int:
        """How large the log's file is."""
        return os.fstat(self._log).st_size

    def checksum_at(self, frame: int) -> Checksum | None:
        """The running checksum stored with that frame, None when the log does not reach so far."""
        content = os.pread(self._log, wal.FRAME_HEADER_BYTES, self._offset_of(frame)) if frame else b""
        return stretch.read_frame(content).checksum if len(content) == wal.FRAME_HEADER_BYTES else None

    def commits_until(self, frame: int) -> int:
        """How many commits the first `frame` frames of the log hold. They must be held, or the writers stopped."""
        headers = (os.pread(self._log, wal.FRAME_HEADER_BYTES, self._offset_of(one)) for one in range(1, frame + 1))
        return sum(stretch.read_frame(header).units > 0 for header in headers)

    def read(self, first: int, last: int) -> bytes:
        """Those frames, as they are in the log. They must be committed, and held or the writers stopped."""
        step = self.page_size + wal.FRAME_HEADER_BYTES
        wanted, offset = (last - first + 1) * step, self._offset_of(first)
        pieces: list[bytes] = []
        while wanted:
            piece = os.pread(self._log, wanted, offset)
            if not piece:
                raise LogLost(f"{self._log_path} ends before its frame {last}.")
            pieces.append(piece)
            wanted, offset = wanted - len(piece), offset + len(piece)
        return b"".join(pieces)

    def position(self) -> int | None:
        """How far the application has come: the highest value of its monotone column, None when it has none."""
        if self._position_of is None:
            return None
        table, column = self._position_of.split(".")
        try:
            value: int | None = self._copier.execute(f"SELECT max({column}) FROM {table}").fetchone()[0]  # noqa: S608
        except sqlite.Error:
            return None
        return value

    def hold(self, stopped: Then) -> None:
        """From now on nobody can overwrite what is in the log.

        `stopped` is called, while the writers are stopped, if all of the log is in the main file already, so that the round
        cannot be kept from ending: it must see to it that nothing in it is needed any more. Raises Busy.
        """
        with _plainly(self.database):
            for _ in range(_HOLD_ATTEMPTS):
                self.let_go()
                if self._all_copied():
                    self._go_on(stopped)
                before = self.index()
                self._holder.execute("BEGIN")
                self._holds = True
                self._holder.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                after = self.index()
                # What is copied only grows within a round: equal before and after, it was so when the reading began, and
                # there were frames beyond it, which is when a reader gets a mark.
                same = (before.salts, before.backfilled) == (after.salts, after.backfilled)
                if same and before.backfilled < before.mx_frame:
                    return
            self.let_go()
        raise Busy(f"{self.database} is being checkpointed by somebody else all the time; stop whoever does that.")

    def _all_copied(self) -> bool:
        index = self.index()
        return index.backfilled >= index.mx_frame

    def _go_on(self, stopped: Then) -> None:
        """Put a commit behind what was copied. If writers leave us no room they do it themselves."""
        with suppress(Busy), _plainly(self.database), self._writers_stopped(_MARK_PATIENCE_S):
            if self._all_copied():
                stopped()
                self._mark()

    def let_go(self) -> None:
        """End the holding, if there is any."""
        if self._holds:
            self._holder.execute("ROLLBACK")
            self._holds = False

    def checkpoint(self, stopped: Then, patience_s: float = _BUSY_TIMEOUT_S) -> bool:
        """Copy the log to the main file while the writers are stopped, after `stopped` was called; then hold nothing.

        True when all of it was copied, so that the next writer begins a new round. When `stopped` raises, or Busy is raised
        because the writers did not pause within `patience_s`, nothing was done.
        """
        with _plainly(self.database):
            with self._writers_stopped(patience_s):
                stopped()
                self.let_go()
                busy, frames, copied = self._copier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(not busy and frames == copied)

    def _offset_of(self, frame: int) -> int:
        return wal.HEADER_BYTES + (frame - 1) * (wal.FRAME_HEADER_BYTES + self.page_size)

    @contextmanager
    def _writers_stopped(self, patience_s: float) -> Iterator[None]:
        end_t = time.monotonic() + patience_s
        while True:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                break
            except sqlite.OperationalError:
                # SQLite's own waiting sleeps ever longer, and a busy writer is gone for a fraction of a millisecond only.
                if time.monotonic() > end_t:
                    raise
                time.sleep(_LOOK_AGAIN_S)
        try:
            yield
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise
        self._writer.execute("COMMIT")

    def _mark(self) -> None:
        """An empty commit: one frame, and nothing changed."""
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        self._writer.execute(f"PRAGMA user_version = {version}")


def _connect(database: Path) -> Any:
    uri = f"file:{quote(str(database))}?mode=rw"
    connection = sqlite.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LogLost(f"{path} cannot be opened: {error.strerror}.") from error


def _identity(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _require_identity(path: Path) -> Identity:
    identity = _identity(path)
    if identity is None:
        raise LogLost(f"{path} was removed.")
    return identity


def _identity_of(descriptor: int) -> Identity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


@contextmanager
def _plainly(database: Path) -> Iterator[None]:
    """SQLite's errors as sentences."""
    try:
        yield
    except sqlite.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise Busy(f"{database} stayed locked ({error}).") from error
        raise LogLost(f"{database} cannot be used any more ({error}).") from error
    except sqlite.DatabaseError as error:
        raise LogLost(f"{database} cannot be used any more ({error}).") from error
