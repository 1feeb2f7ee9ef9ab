"""The write-ahead log of SQLite and its index, as bytes: headers and frames, parsed and nothing else.

    <db>-wal    header (32) | frame 1: header (24) + page | frame 2 | …      frames of an older round may lie behind the tail
    <db>-shm    two copies of the index header (48 each), then how much is checkpointed, and the marks of the readers

What is committed is told by the index, not by the size of the log: `frames` of the index header, and no more. Numbers in the
log are big-endian, those in the index of the machine's own order, but for the salts, which are copied as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
INDEX_BYTES: Final = 136
"""How much of the index is needed: both copies of its header, and what is known of checkpoints."""

_MAGIC: Final = 0x377F0682  # and, with its lowest bit set, for checksums over big-endian words
_INDEX_HEADER_BYTES: Final = 48
_INDEX_VERSION: Final = 3007000
_BACKFILLED_AT: Final = 96

_LOG = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_INDEX = struct.Struct("=IIIBBHII2I8s2I")
_WORDS = struct.Struct("=10I")
_NUMBER = struct.Struct("=I")
_SALTS = struct.Struct(">2I")


class Salts(NamedTuple):
    """The name of one round of the log: the first is one higher in each round, the second is random."""

    first: int
    second: int

    @property
    def next_first(self) -> int:
        """The first salt of the round after this one."""
        return (self.first + 1) & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class LogHeader:
    """The header of a log: the size of its pages, and which round it is."""

    page_size: int
    salts: Salts


@dataclass(frozen=True, slots=True)
class IndexHeader:
    """What is committed: `frames` of the round `salts`, ending with a frame of that `checksum`; the image then has `units`.

    `change` counts the commits since the index was made, through all rounds. `backfilled` frames are in the main file.
    """

    change: int
    page_size: int
    frames: int
    units: int
    checksum: int
    salts: Salts
    backfilled: int


class Frame(NamedTuple):
    """The header of one frame: the page it holds, and for the last frame of a commit the size of the image in `units`."""

    page: int
    units: int
    salts: Salts
    checksum: int

    @property
    def commits(self) -> bool:
        return self.units > 0


def read_header(content: bytes) -> LogHeader | None:
    """The header of a log, None where there is none: an empty log, or no log of SQLite."""
    if len(content) < HEADER_BYTES:
        return None
    magic, _version, page_size, _sequence, first, second, *_sums = _LOG.unpack_from(content)
    if magic & ~1 != _MAGIC:
        return None
    return LogHeader(page_size, Salts(first, second))


def read_index(content: bytes) -> IndexHeader | None:
    """What the index says, None while somebody is writing it, or when it is no index."""
    one, other = content[:_INDEX_HEADER_BYTES], content[_INDEX_HEADER_BYTES : 2 * _INDEX_HEADER_BYTES]
    if len(content) < INDEX_BYTES or one != other:
        return None
    version, _, change, ready, _, page_size, frames, units, sum1, sum2, salts, *sums = _INDEX.unpack(one)
    if version != _INDEX_VERSION or not ready or tuple(sums) != _checksum(_WORDS.unpack_from(one)):
        return None
    (backfilled,) = _NUMBER.unpack_from(content, _BACKFILLED_AT)
    return IndexHeader(
        change,
        (page_size & 0xFE00) + ((page_size & 1) << 16),
        frames,
        units,
        (sum1 << 32) | sum2,
        Salts(*_SALTS.unpack(salts)),
        backfilled,
    )


def _checksum(words: tuple[int, ...]) -> tuple[int, int]:
    one = two = 0
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two


def frame_at(number: int, page_size: int) -> int:
    """Where in the log frame `number` begins; the first has the number 1."""
    return HEADER_BYTES + (number - 1) * (FRAME_HEADER_BYTES + page_size)


def read_frame(content: bytes | memoryview, offset: int = 0) -> Frame:
    """The frame header there."""
    page, units, first, second, sum1, sum2 = _FRAME.unpack_from(content, offset)
    return Frame(page, units, Salts(first, second), (sum1 << 32) | sum2)


def frames_in(content: bytes | memoryview, page_size: int) -> Iterator[tuple[Frame, memoryview]]:
    """Every whole frame in a stretch of log, with its page."""
    view = memoryview(content)
    step = FRAME_HEADER_BYTES + page_size
    for offset in range(0, len(view) - step + 1, step):
        yield read_frame(view, offset), view[offset + FRAME_HEADER_BYTES : offset + step]
