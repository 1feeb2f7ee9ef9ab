"""The files beside an SQLite database in WAL mode, read byte by byte: the log, and the index that says how far it counts.

    -wal   header (32 bytes), then frames: header (24 bytes) and one page each; a frame that ends a commit says so
    -shm   header twice (48 bytes each), then how far checkpoints have come, and the marks of the readers

Nothing here opens, locks or judges: whoever passes a descriptor in keeps the log from being overwritten meanwhile, and keeps
the descriptor open as long as its process has a connection to the database, since closing it drops SQLite's locks. Frames
of an older use of the log lie behind the valid ones: only the salts and the checksums tell, never the size of the file.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from backups.errors import BackupError

HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
SHM_BYTES: Final = 100
"""As much of the index as `ShmHeader.read` needs."""

Checksum = tuple[int, int]
Salts = tuple[int, int]

_MAGIC: Final = 0x377F0682
_VERSION: Final = 3_007_000
_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_SHM = struct.Struct("=3I2BH4I8s2I")


class BrokenLog(BackupError):
    """The log, or its index, is not what SQLite writes, or is not the one it was taken for."""


@dataclass(frozen=True, slots=True)
class WalHeader:
    """The first 32 bytes of a log. `salts` are those of all its frames; a new use of the log adds 1 to the first."""

    big_endian: bool
    page_size: int
    sequence: int
    salts: Salts
    checksum: Checksum

    @property
    def frame_bytes(self) -> int:
        return FRAME_HEADER_BYTES + self.page_size

    def offset_of(self, frame: int) -> int:
        """Where the frame of that number begins; the first one is 1."""
        return HEADER_BYTES + (frame - 1) * self.frame_bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: a page as some commit left it. `units_after_commit` is the database's size in pages if it ends one, else 0.

    `offset` is where the frame's header begins in the log; the page follows after `FRAME_HEADER_BYTES`.
    """

    number: int
    page: int
    units_after_commit: int
    salt: Salts
    checksum: Checksum
    offset: int


@dataclass(frozen=True, slots=True)
class ShmHeader:
    """What the index says of the log: everything up to frame `mx_frame` is committed, whatever lies behind it.

    `change` grows by one with every commit, so two equal headers mean that nothing was committed between. Frames up to
    `backfilled` are in the database file already. `n_page` is the size in pages after the last commit, 0 when unknown.
    """

    change: int
    page_size: int
    mx_frame: int
    n_page: int
    frame_checksum: Checksum
    salts: Salts
    backfilled: int

    @classmethod
    def read(cls, content: bytes) -> ShmHeader | None:
        """The header in the first `SHM_BYTES` of the index, None while it is being written or was never written."""
        if len(content) < SHM_BYTES:
            return None
        first, second = content[: _SHM.size], content[_SHM.size : 2 * _SHM.size]
        version, _, change, ready, _, size, mx_frame, n_page, sum0, sum1, salts, *own = _SHM.unpack(first)
        if first != second or not ready or tuple(own) != checksum(sys.byteorder == "big", first[:-8], (0, 0)):
            return None
        if version != _VERSION:
            raise BrokenLog(f"The index of the log has version {version}, and {_VERSION} is the one known here.")
        (backfilled,) = struct.unpack_from("=I", content, 2 * _SHM.size)
        salt0, salt1 = struct.unpack(">2I", salts)
        # 65536 does not fit into its two bytes, and is written as 1.
        page_size = (size & 0xFE00) | ((size & 1) << 16)
        return cls(change, page_size, mx_frame, n_page, (sum0, sum1), (salt0, salt1), backfilled)


def read_header(content: bytes) -> WalHeader:
    """The header in the first `HEADER_BYTES` of a log. Raises BrokenLog for anything else."""
    if len(content) < HEADER_BYTES:
        raise BrokenLog(f"The log has {len(content)} bytes, which is less than its header.")
    magic, version, page_size, sequence, salt0, salt1, *own = _HEADER.unpack_from(content)
    big_endian = bool(magic & 1)
    if magic & ~1 != _MAGIC or version != _VERSION:
        raise BrokenLog("The log does not begin with the header of one.")
    if not 512 <= page_size <= 65536 or page_size & (page_size - 1):
        raise BrokenLog(f"The log is of pages of {page_size} bytes, and there are none of that size.")
    found = checksum(big_endian, content[: HEADER_BYTES - 8], (0, 0))
    if tuple(own) != found:
        raise BrokenLog("The header of the log has another checksum than it says.")
    return WalHeader(big_endian, page_size, sequence, (salt0, salt1), found)


def frames(descriptor: int, header: WalHeader, first: int, last: int) -> Iterator[Frame]:
    """The frames `first` to `last`, by their headers alone. Raises BrokenLog when one is missing or has other salts.

    That they are committed is what the index says, or `committed`. Pages are not read, nor checksums computed.
    """
    for number in range(first, last + 1):
        offset = header.offset_of(number)
        content = os.pread(descriptor, FRAME_HEADER_BYTES, offset)
        if len(content) < FRAME_HEADER_BYTES:
            raise BrokenLog(f"The log ends before frame {number}, and {last} are needed.")
        frame = _frame(content, number, offset)
        if frame.salt != header.salts:
            raise BrokenLog(f"Frame {number} of the log is from another use of it: its salts differ.")
        yield frame


def committed(descriptor: int, header: WalHeader) -> Iterator[tuple[Frame, ...]]:
    """Every whole commit in the log, in order, proven by computing all checksums: for a log without an index.

    Ends quietly at the first frame that does not fit, as SQLite does when it recovers a log. About 30 MB/s.
    """
    running, number = header.checksum, 1
    pending: list[Frame] = []
    while True:
        offset = header.offset_of(number)
        content = os.pread(descriptor, header.frame_bytes, offset)
        if len(content) < header.frame_bytes:
            return
        frame = _frame(content, number, offset)
        running = frame_checksum(header.big_endian, content, running)
        if frame.salt != header.salts or frame.checksum != running or frame.page == 0:
            return
        pending.append(frame)
        if frame.units_after_commit:
            yield tuple(pending)
            pending.clear()
        number += 1


def frame_checksum(big_endian: bool, frame: bytes, before: Checksum) -> Checksum:
    """The checksum that this whole frame, header and page, has to carry after a frame (or the header) with `before`."""
    running = checksum(big_endian, frame[:8], before)
    return checksum(big_endian, memoryview(frame)[FRAME_HEADER_BYTES:], running)


def checksum(big_endian: bool, data: bytes | memoryview, seed: Checksum) -> Checksum:
    """SQLite's running checksum over `data`, a multiple of eight bytes, after everything that gave `seed`."""
    first, second = seed
    words = struct.unpack(f"{'>' if big_endian else '<'}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFF_FFFF
        second = (second + odd + first) & 0xFFFF_FFFF
    return first, second


def _frame(content: bytes, number: int, offset: int) -> Frame:
    page, units, salt0, salt1, sum0, sum1 = _FRAME.unpack_from(content)
    return Frame(number, page, units, (salt0, salt1), (sum0, sum1), offset)
