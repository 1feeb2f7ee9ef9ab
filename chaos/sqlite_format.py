"""As much of SQLite's file format as it takes to aim: pages, which of them are free, and which the log masks.

Read with plain system calls, so that looking does not disturb; whoever writes must be stopped meanwhile. See
https://www.sqlite.org/fileformat2.html, sections 1.3 (header), 1.5 (free list) and 4.1 (log).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from chaos.errors import NothingToBreak

_MAGIC = b"SQLite format 3\0"
_LOG_MAGICS = (0x377F0682, 0x377F0683)
_LOCK_BYTE = 0x40000000
LOG_HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of a main file, numbered from 1. `free` are those that hold nothing."""

    size_bytes: int
    count: int
    free: frozenset[int]

    @property
    def used(self) -> tuple[int, ...]:
        """The pages that hold something, in order."""
        never_used = {_LOCK_BYTE // self.size_bytes + 1}
        return tuple(page for page in range(1, self.count + 1) if page not in self.free and page not in never_used)


@dataclass(frozen=True, slots=True)
class Log:
    """A write-ahead log: the page number that each of its frames holds, in order, up to where it was overwritten.

    `page_count` is how many pages the database has since the log's last commit, None when it holds none.
    """

    page_bytes: int
    frames: tuple[int, ...]
    page_count: int | None

    def offset(self, frame: int) -> int:
        """Where that frame, counted from 0, begins in the file."""
        return LOG_HEADER_BYTES + frame * self.frame_bytes

    @property
    def frame_bytes(self) -> int:
        """The length of one frame with its header."""
        return FRAME_HEADER_BYTES + self.page_bytes


def read_pages(database: Path) -> Pages:
    """The pages of that main file. Raises NothingToBreak when it is not a SQLite database."""
    with database.open("rb") as file:
        header = file.read(100)
        if len(header) < 100 or not header.startswith(_MAGIC):
            raise NothingToBreak(f"{database} is not a SQLite database, or its header is damaged already.")
        size_bytes = struct.unpack_from(">H", header, 16)[0]
        size_bytes = 65536 if size_bytes == 1 else size_bytes
        count = os.fstat(file.fileno()).st_size // size_bytes
        trunk = struct.unpack_from(">I", header, 32)[0]
        return Pages(size_bytes, count, _free(file.fileno(), trunk, size_bytes, count))


def _free(descriptor: int, trunk: int, size_bytes: int, count: int) -> frozenset[int]:
    free: set[int] = set()
    while 0 < trunk <= count and trunk not in free:
        free.add(trunk)
        page = os.pread(descriptor, size_bytes, (trunk - 1) * size_bytes)
        trunk, leaves = struct.unpack_from(">II", page)
        free.update(struct.unpack_from(f">{min(leaves, size_bytes // 4 - 2)}I", page, 8))
    return frozenset(free)


def read_log(log: Path) -> Log | None:
    """The log in that file, None when there is none or it is empty.

    Frames are recognised by their salts alone. So what was moved into the main file and not overwritten yet is counted too:
    rather a page too many than one that the log would heal.
    """
    try:
        content = log.read_bytes()
    except FileNotFoundError:
        return None
    if len(content) < LOG_HEADER_BYTES or struct.unpack_from(">I", content)[0] not in _LOG_MAGICS:
        return None
    (page_bytes,) = struct.unpack_from(">I", content, 8)
    salts = content[16:24]
    frames: list[int] = []
    page_count = None
    step = FRAME_HEADER_BYTES + page_bytes
    for begin in range(LOG_HEADER_BYTES, len(content) - step + 1, step):
        page, count_if_commit = struct.unpack_from(">II", content, begin)
        if content[begin + 8 : begin + 16] != salts:
            break
        frames.append(page)
        page_count = count_if_commit or page_count
    return Log(page_bytes, tuple(frames), page_count) if frames else None
