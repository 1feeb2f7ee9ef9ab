"""A stretch of log in memory, as it lies in a segment: whole frames one after another, each header followed by its page."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from backups.sqlite.wal import FRAME_HEADER_BYTES, Checksum, Salts

_FRAME: Final = struct.Struct(">6I")


class FrameHeader(NamedTuple):
    """The header of one frame. `units` is the size of the image after the commit that it ends, 0 if it ends none."""

    page: int
    units: int
    salts: Salts
    checksum: Checksum


def read_frame(content: bytes | memoryview, offset: int = 0) -> FrameHeader:
    """The frame header there."""
    page, units, salt1, salt2, sum1, sum2 = _FRAME.unpack_from(content, offset)
    return FrameHeader(page, units, (salt1, salt2), (sum1, sum2))


def frames_in(content: bytes | memoryview, page_size: int) -> Iterator[tuple[FrameHeader, memoryview]]:
    """Every whole frame in the stretch, with its page."""
    view = memoryview(content)
    step = FRAME_HEADER_BYTES + page_size
    for offset in range(0, len(view) - step + 1, step):
        yield read_frame(view, offset), view[offset + FRAME_HEADER_BYTES : offset + step]
