"""The image of a live SQLite database, read raw from its files while a read transaction keeps them as they are.

    main file  page 1, page 2, ...   overlaid by   -wal  the newest committed frame of each page

Why nothing moves underneath. Without a log, the transaction's SHARED lock keeps every writer from the main file. With one,
the transaction holds a read mark:
  - if all frames of its state were in the main file already when it began, it holds mark 0, and no checkpoint writes to
    the main file at all; or its mark is at the last frame, and no checkpoint goes beyond that. The main file is the image.
  - otherwise its mark is above 0: nobody begins the log anew, so frames 1 to the last of its state stay; and checkpoints
    write only pages that have a frame in its state, all of which are read from the log and not from the main file.
Which state it is, is read from the index of the log before and after the transaction begins: two equal headers mean that no
commit came between.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from backups.sqlite import wal
from backups.sqlite.wal import BrokenLog, ShmHeader

BLOCK_BYTES: Final = 1 << 20
LOCK_BYTE: Final = 1 << 30
"""SQLite's locks lie on this byte of the main file. The page around it is never written, and is zeros in an image."""
_ATTEMPTS: Final = 10_000


class Files:
    """Descriptors of a database's files: the main one from the start, the others on demand, all kept until `close`.

    Made before the connection is opened, so that an exchange of the files in between shows, and closed after it is closed:
    closing one of them drops the locks that SQLite holds in this process. Raises OSError.
    """

    def __init__(self, database: Path) -> None:
        self.database = database
        self._open: dict[str, int] = {}
        self.descriptor()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def descriptor(self, suffix: str = "") -> int:
        """Of the main file, or of the one beside it with that suffix. Raises OSError."""
        if suffix not in self._open:
            self._open[suffix] = os.open(f"{self.database}{suffix}", os.O_RDONLY | os.O_CLOEXEC)
        return self._open[suffix]

    def index(self) -> ShmHeader | None:
        """What the index of the log says now, None when there is none, or it is being written."""
        try:
            return ShmHeader.read(os.pread(self.descriptor("-shm"), wal.SHM_BYTES, 0))
        except FileNotFoundError:
            return None

    def require_in_place(self) -> None:
        """Raise BrokenLog when any of them is no longer the file of its name: then it may not be the one SQLite has open."""
        for suffix, descriptor in self._open.items():
            try:
                in_place = os.path.samestat(os.fstat(descriptor), os.stat(f"{self.database}{suffix}"))  # noqa: PTH116
            except FileNotFoundError:
                in_place = False
            if not in_place:
                raise BrokenLog(f"{self.database}{suffix} was exchanged while it was being opened.")

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])


@dataclass(frozen=True, slots=True)
class Image:
    """Where each page of one state lies; good for as long as the transaction that `pin` began goes on.

    `overlay` says of pages in the log at which offset. Every commit acknowledged before `taken_t` (monotonic) is in it.
    """

    main: int
    log: int
    unit_bytes: int
    units: int
    taken_t: float
    overlay: dict[int, int] = field(default_factory=dict)

    def blocks(self, block_bytes: int = BLOCK_BYTES, lock_byte: int = LOCK_BYTE) -> Iterator[memoryview]:
        """The image in order, in blocks of about that size; a block is good until the next one is asked for."""
        step = max(1, block_bytes // self.unit_bytes)
        buffer = memoryview(bytearray(step * self.unit_bytes))
        locks = lock_byte // self.unit_bytes + 1
        for first in range(1, self.units + 1, step):
            pages = range(first, min(first + step, self.units + 1))
            block = buffer[: len(pages) * self.unit_bytes]
            _read(self.main, block, (first - 1) * self.unit_bytes)
            for page in pages if self.overlay else ():
                offset = self.overlay.get(page)
                if offset is not None:
                    _read(self.log, self._within(block, page - first), offset)
            if locks in pages:
                self._within(block, locks - first)[:] = bytes(self.unit_bytes)
            yield block

    def _within(self, block: memoryview, number: int) -> memoryview:
        return block[number * self.unit_bytes : (number + 1) * self.unit_bytes]


def pin(connection: Any, files: Files) -> Image:
    """Begin a read transaction on the connection, and find out where every page of the state that it sees lies.

    The connection must be in autocommit mode and only be used by the calling thread. Raises SQLite's errors, OSError, or
    BrokenLog when what lies in the log is not what its index promises.
    """
    main = files.descriptor()
    # From here on the connection has the log and its index open, and nobody removes them.
    connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    for _ in range(_ATTEMPTS):
        before = files.index()
        taken_t = time.monotonic()
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        backfilled = files.index()
        after = files.index()
        unit_bytes, units = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count"))
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            files.require_in_place()
            return Image(main, -1, unit_bytes, units, taken_t)
        if before and after and backfilled and _state(before) == _state(backfilled) == _state(after):
            log = files.descriptor("-wal")
            files.require_in_place()
            # Read before `after`, since a log begun anew gets its new header first and its new `backfilled` second.
            in_main = backfilled.backfilled >= after.mx_frame
            overlay = {} if in_main else _overlay(log, after, unit_bytes, units)
            return Image(main, log, unit_bytes, units, taken_t, overlay)
        connection.execute("ROLLBACK")
    raise BrokenLog("The index of the log was never still long enough to be read.")


def _state(index: ShmHeader) -> tuple[object, ...]:
    """All that changes with a commit or a new beginning of the log, which is everything but the checkpoints' work."""
    return index.change, index.mx_frame, index.n_page, index.frame_checksum, index.salts, index.page_size


def _overlay(log: int, index: ShmHeader, unit_bytes: int, units: int) -> dict[int, int]:
    """Where in the log the newest committed frame of each page lies."""
    header = wal.read_header(os.pread(log, wal.HEADER_BYTES, 0))
    if header.page_size != unit_bytes or header.salts != index.salts:
        raise BrokenLog("The log is not the one that its index describes.")
    overlay = {}
    for frame in wal.frames(log, header, 1, index.mx_frame):
        overlay[frame.page] = frame.offset + wal.FRAME_HEADER_BYTES
    if frame.checksum != index.frame_checksum or frame.units_after_commit != units:
        raise BrokenLog(f"Frame {frame.number} of the log is not the commit that its index describes.")
    return overlay


def _read(descriptor: int, into: memoryview, offset: int) -> None:
    """Fill `into` from there; what lies past the end of the file is zeros, as it is to SQLite."""
    done = 0
    while done < len(into):
        count = os.preadv(descriptor, [into[done:]], offset + done)
        if count == 0:
            into[done:] = bytes(len(into) - done)
            return
        done += count
