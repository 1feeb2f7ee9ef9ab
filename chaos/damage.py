"""Damage as a value: which bytes of a file become what. Decided from a seed, done elsewhere, the same for the same seed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Read = Callable[[int, int], bytes]
"""Gives `length` bytes of the file from `offset`."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """Bytes at an offset that become others of the same number."""

    offset: int
    before: bytes
    after: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """What is done to one file: strokes, and the size it is cut to, None when it keeps its size."""

    strokes: tuple[Stroke, ...] = ()
    size_bytes: int | None = None

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where the strokes fall, and where the file is cut."""
        cut = () if self.size_bytes is None else (self.size_bytes,)
        return (*(stroke.offset for stroke in self.strokes), *cut)


def bit_flips(read: Read, spans: Sequence[tuple[int, int]], count: int, dice: random.Random) -> Damage:
    """Up to `count` bits flipped, each somewhere in one of the spans (offset, length); one a byte."""
    strokes: dict[int, Stroke] = {}
    for _ in range(count):
        begin, length = dice.choice(spans)
        offset = begin + dice.randrange(length)
        before = read(offset, 1)
        strokes[offset] = Stroke(offset, before, bytes([before[0] ^ 1 << dice.randrange(8)]))
    return Damage(tuple(strokes.values()))


def zeros(read: Read, spans: Sequence[tuple[int, int]], count: int, dice: random.Random) -> Damage:
    """Up to `count` of the spans filled with zeros; those that are zero already stay out."""
    strokes: list[Stroke] = []
    for offset, length in dice.sample(spans, len(spans)):
        before = read(offset, length)
        if len(strokes) < count and before.strip(b"\0"):
            strokes.append(Stroke(offset, before, bytes(length)))
    return Damage(tuple(strokes))


def garbage(read: Read, size_bytes: int, count: int, dice: random.Random) -> Damage:
    """`count` bytes in a row, somewhere in the first `size_bytes`, each changed."""
    count = min(count, size_bytes)
    offset = dice.randrange(size_bytes - count + 1)
    before = read(offset, count)
    return Damage((Stroke(offset, before, bytes(byte ^ dice.randrange(1, 256) for byte in before)),))


def reader(path: Path) -> Read:
    """Reads that file, opened for each read."""

    def read(offset: int, length: int) -> bytes:
        with path.open("rb") as file:
            return os.pread(file.fileno(), length, offset)

    return read


def apply(damage: Damage, path: Path) -> None:
    """The file is damaged, durably."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for stroke in damage.strokes:
            os.pwrite(descriptor, stroke.after, stroke.offset)
        if damage.size_bytes is not None:
            os.ftruncate(descriptor, damage.size_bytes)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def happened(damage: Damage, path: Path) -> bool:
    """Whether the damage is in the file now: every stroke as it was made, and nothing beyond the cut."""
    read = reader(path)
    struck = all(read(stroke.offset, len(stroke.after)) == stroke.after != stroke.before for stroke in damage.strokes)
    return struck and (damage.size_bytes is None or path.stat().st_size == damage.size_bytes)
