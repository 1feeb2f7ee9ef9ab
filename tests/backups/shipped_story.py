"""A log of twenty commits, ten seconds apart, and eight ways to damage a segment of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from backups.clock import Clock
from backups.format import manifest as manifests
from backups.keys.keyring import Keyring
from backups.keys.sealing import PLAIN
from backups.log import logbook, segments
from backups.log.shipper import Limits
from backups.stores.directory import DirectoryStore
from tests.backups.shipping import Ferry, Stage, settled

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class Wall:
    """A wall clock that goes on by ten seconds whenever it is told to."""

    def __init__(self) -> None:
        self.seconds = 0
        self.clock = Clock(now=lambda: START + timedelta(seconds=self.seconds), monotonic=time.monotonic)

    def on(self) -> None:
        self.seconds += 10


@dataclass(frozen=True)
class Log:
    """A store with a backup and a log of 20 commits of two operations, 51 to 90, ten seconds apart."""

    stage: Stage
    generation: str
    first: int
    truth: bytes

    @property
    def store(self) -> DirectoryStore:
        return self.stage.store

    def path(self, index: int) -> Path:
        return self.stage.root / "store" / segments.name_of(self.generation, index)

    def copied(self, root: Path) -> Log:
        """The same once more, to be damaged."""
        shutil.copytree(self.stage.root, root)
        return Log(Stage(root), self.generation, self.first, self.truth)

    @property
    def indexes(self) -> tuple[int, ...]:
        return logbook.generations(self.store)[-1].indexes


def shipped_story(root: Path) -> Log:
    """The story told once, in a directory that is to be copied before anything is damaged in it."""
    stage = Stage.make(root)
    wall = Wall()
    ferry = Ferry(stage, limits=Limits(checkpoint_bytes=100_000), clock=wall.clock)
    # The backups are made by the true clock, long after the wall of this story: they must not be later than the log.
    first = ferry.ready().index
    for _ in range(20):
        wall.on()
        ferry.write(2)
        ferry.ship()
        ferry.shipper.tend()
    place = ferry.ship()
    ferry.close()
    for path in (stage.root / "store" / "manifests").iterdir():
        redate(path)
    return Log(stage, place.generation, first, settled(stage.database))


def redate(path: Path) -> None:
    """The manifest says that its backup was taken when the story began."""
    known = manifests.decode(path.stem, path.read_bytes())
    changed = msgspec.structs.replace(known, taken="2026-11-23T09:00:00.000Z")
    path.write_bytes(manifests.encode(manifests.signed(changed, lambda _: "")))


def missing(log: Log, index: int) -> None:
    log.path(index).unlink()


def empty(log: Log, index: int) -> None:
    log.path(index).write_bytes(b"")


def truncated(log: Log, index: int) -> None:
    content = log.path(index).read_bytes()
    log.path(index).write_bytes(content[: len(content) * 2 // 3])


def flipped(log: Log, index: int) -> None:
    content = bytearray(log.path(index).read_bytes())
    content[len(content) // 2] ^= 0x10
    log.path(index).write_bytes(content)


def swapped(log: Log, index: int) -> None:
    one, other = log.path(index), log.path(index + 1)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def replayed_older(log: Log, index: int) -> None:
    shutil.copy(log.path(index - 1), log.path(index))


def rewritten(log: Log, index: int) -> None:
    """A segment that is good in itself, with the right name, written over another past."""
    key = _key()
    stored = logbook.read_segment(log.store, log.generation, index, key)
    frames = segments.frames_of(stored, PLAIN)
    header = msgspec.structs.replace(stored.header, previous="00" * 32)
    log.path(index).write_bytes(segments.encode(header, frames, PLAIN, key))


def gap(log: Log, index: int) -> None:
    """A segment that follows by its hash, and begins a frame late."""
    key = _key()
    stored = logbook.read_segment(log.store, log.generation, index, key)
    frames = segments.frames_of(stored, PLAIN)
    step = len(frames) // (stored.header.last - stored.header.first + 1)
    header = msgspec.structs.replace(stored.header, first=stored.header.first + 1, before=(1, 1))
    log.path(index).write_bytes(segments.encode(header, frames[step:], PLAIN, key))


def _key() -> bytes:
    return Keyring.plain().hash_key


DAMAGES = (missing, empty, truncated, flipped, swapped, replayed_older, rewritten, gap)
Damage = Callable[[Log, int], None]
