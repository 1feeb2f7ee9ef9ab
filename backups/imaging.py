"""From a database being read to packs in a store: every unit is hashed, and those that the parent has not are stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from backups.engine import BLOCKS_GOOD, Reading
from backups.format import units
from backups.format.chain import Table
from backups.format.index import Index
from backups.format.manifest import Pack
from backups.format.packs import UNDER_WAY, Writer
from backups.format.units import HASH_BYTES
from backups.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Image:
    """What was stored of an image: its packs and its index, and the root over all of it."""

    units: int
    root: str
    packs: tuple[Pack, ...]
    index: Pack
    table: Index


@dataclass(frozen=True, slots=True)
class Pace:
    """Reads no faster than so many bytes a second on average, None for as fast as it goes."""

    bytes_s: int | None = None
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def keep(self, began_t: float, done_bytes: int) -> None:
        """Return once that many bytes may have been read since then."""
        if self.bytes_s is not None:
            ahead_s = began_t + done_bytes / self.bytes_s - self.monotonic()
            if ahead_s > 0:
                self.sleep(ahead_s)


UNPACED = Pace()
assert UNDER_WAY < BLOCKS_GOOD  # A chunk spans one block at least, and is compressed where it lies.


def store_image(
    reading: Reading,
    writer: Writer,
    parent: Table | None,
    key: bytes,
    *,
    pace: Pace = UNPACED,
    progress: Progress = silent,
) -> Image:
    """Read the image once, and store it, or with a parent what differs from the parent's; all durable on return."""
    unit_bytes, total_bytes = reading.unit_bytes, reading.units * reading.unit_bytes
    known = bytes(parent.hashes) if parent else b""
    hashes, stored = bytearray(), bytearray()
    unit, began_t = 0, pace.monotonic()
    for block in reading.blocks():
        found = units.hashes_of(block, unit_bytes, key)
        at = unit * HASH_BYTES
        if parent is None:
            writer.add(unit, block, unit_bytes)
            stored += found
        elif known[at : at + len(found)] != found:
            view = memoryview(block)
            for number in range(len(block) // unit_bytes):
                own = found[number * HASH_BYTES : (number + 1) * HASH_BYTES]
                if known[at + number * HASH_BYTES : at + (number + 1) * HASH_BYTES] != own:
                    writer.add(unit + number, view[number * unit_bytes : (number + 1) * unit_bytes])
                    stored += own
        hashes += found
        unit += len(block) // unit_bytes
        progress(min(unit * unit_bytes, total_bytes), total_bytes, "store")
        pace.keep(began_t, unit * unit_bytes)
    packs, index, table = writer.finish(bytes(stored), unit)
    return Image(unit, units.root_of(hashes, key), packs, index, table)
