"""The loop that ships the log: read what is committed, publish it, checkpoint now and then, never lose sight of it.

    following ──store away──▶ waiting, the log grows ──over the cap──▶ checkpointed unshipped: the generation is over
        ▲                           │ back
        └───────────────────────────┘              whatever does not follow on what was shipped begins a new generation,
                                                    which has a reason, and whose first backup is made at once

A generation can restore nothing before it has a backup of its own, so nobody is told that something is safe until then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from backups.clock import SYSTEM, Clock
from backups.errors import BackupError, Busy, LogBroken, LogLost
from backups.keeping import catalogue as catalogues
from backups.keys.keyring import Keyring
from backups.log import continuity, course
from backups.log.continuity import Broken
from backups.log.copies import Copies
from backups.log.course import Course
from backups.log.tail import Tail
from backups.sqlite.wal import FRAME_HEADER_BYTES, ShmHeader
from backups.stores.store import Store

Base = Callable[[], None]
"""Makes a backup of the database that knows where in the shipped log it lies."""

Say = Callable[..., None]
"""Tells of one event: a fixed phrase, and what belongs to it by name."""

RETRY_S: Final = (0.05, 0.2, 0.5, 1.0, 2.0)
_MOST_LOST: Final = 50
_PATIENCE_S: Final = 0.005
_MOST_PATIENCE: Final = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """How much log may gather in a round before it is checkpointed, and before it is so even if it was not shipped."""

    checkpoint_bytes: int = 4 << 20
    cap_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the shipped log: all up to that segment is durable, and `restorable` once its generation has a backup."""

    generation: str
    index: int
    restorable: bool


class Shipper:
    """Ships the log of one database to one store. To be used by one thread; only `base` runs in another."""

    def __init__(
        self,
        database: Path,
        store: Store,
        base: Base,
        say: Say,
        *,
        keyring: Keyring | None = None,
        limits: Limits | None = None,
        position_of: str | None = None,
        reopen: Callable[[], Store] | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._database = database
        self._store = store
        self._say = say
        self._keyring = keyring or Keyring.plain()
        self._limits = limits or Limits()
        self._position_of = position_of
        self._clock = clock
        self._tail: Tail | None = None
        self._course: Course | None = None
        self._why = ""
        self._checkpoint_at = self._limits.checkpoint_bytes
        self._lost: list[Tail] = []
        self._failures = 0
        self._retry_t = float("-inf")
        self._base = _Base(base, clock)
        self._figures = {"segments": 0, "log_bytes": 0, "checkpoints": 0, "generations": 0}
        self._copies = Copies(store, reopen or (lambda: store), say, clock)
        self.trouble = "It has only just begun."

    @property
    def place(self) -> Place | None:
        """How far the shipped log has come, None while there is no generation under way."""
        if self._course is None:
            return None
        generation = self._course.generation
        return Place(generation, self._course.index, self._base.of == generation)

    def figures(self) -> dict[str, int]:
        """What was done since this process began."""
        return dict(self._figures)

    def ship(self) -> Place:
        """Publish everything that was committed before the call. Raises a BackupError when that is not possible now."""
        if self._clock.monotonic() < self._retry_t:
            raise BackupError(self.trouble)
        try:
            self._open()
            self._catch_up()
        except BackupError as error:
            self._failed(error)
            raise
        self._well()
        return self._require_place()

    def close(self) -> None:
        """Let go of the database. If nobody else has it open it is checkpointed, and its log removed."""
        if self._tail is not None:
            self._tail.close()
            self._tail = None

    def tend(self) -> None:
        """What is to be done now and then, and holds up nobody who waits for `ship`: checkpoints, backups, bounds."""
        with suppress(BackupError):
            if self._clock.monotonic() >= self._retry_t:
                self._tend_base()
                self._copies.tend()
        try:
            if self.trouble:
                self._bound()
            else:
                self._checkpoint()
        except BackupError as error:
            self._failed(error)

    def _tend_base(self) -> None:
        place = self.place
        if place is None or place.restorable:
            return
        outcome = self._base.outcome()
        if outcome == "" and self._has_base(place.generation):
            self._base.found(place.generation)
            self._say("base made", generation=place.generation)
            return
        if outcome is not None:
            said = outcome or "The backup does not say where in the shipped log it lies."
            self._say("base failed", generation=place.generation, why=said)
        self._base.start(outcome is not None)

    def _require_place(self) -> Place:
        if self.place is None:
            raise BackupError(self.trouble or "There is no generation to ship to.")
        return self.place

    def _open(self) -> None:
        """The database is watched, and there is a generation under way."""
        if self._tail is None:
            self._copies.begin()
            tail = Tail(self._database, position_of=self._position_of)
            self._tail = tail
        if self._course is None and not self._why:
            self._resume(self._tail)
        if self._course is None:
            self._begin(self._tail)

    def _resume(self, tail: Tail) -> None:
        resumed = course.resume(self._store, self._keyring, self._database, tail.identity, tail.page_size)
        if isinstance(resumed, str):
            self._why = resumed
            return
        self._course = resumed
        try:
            tail.hold(self._catch_up)
            self._catch_up()
        except LogBroken as error:
            self._course, self._why = None, str(error)
            return
        except BackupError:
            self._course = None  # Not the log's fault: from the start, next time.
            raise
        if self._has_base(resumed.generation):
            self._base.found(resumed.generation)
        self._say("resumed", generation=resumed.generation, index=resumed.index)

    def _begin(self, tail: Tail) -> None:
        if not tail.holds:
            tail.hold(_nothing)
        at = continuity.of(tail.index())
        self._course = course.begin(
            self._store, self._keyring, self._database, tail.identity, tail.page_size, at, self._clock.now(), self._why
        )
        self._figures["generations"] += 1
        self._say("generation begun", generation=self._course.generation, why=self._why)
        self._base.start(False)

    def _catch_up(self) -> None:
        """Publish what is committed and was not yet. Needs the log held, or the writers stopped."""
        tail, under_way = self._tail, self._course
        assert tail is not None
        assert under_way is not None
        under_way.settle()
        index = tail.index()
        first = self._next_frame(tail, under_way, index)
        for begin, end in course.stretches(first, index.mx_frame, tail.page_size):
            frames = tail.read(begin, end)
            under_way.ship(frames, begin, index.salts, self._clock.now(), tail.position())
            self._figures["segments"] += 1
            self._figures["log_bytes"] += len(frames)
        if under_way.shipped.salts != index.salts:
            under_way.shipped = continuity.of(index)  # A round in which nothing was written yet.
        if (under_way.shipped.frame, under_way.shipped.checksum) != (
            index.mx_frame,
            index.frame_checksum,
        ) and index.mx_frame:
            raise LogBroken("The log does not hold what its index says.")
        under_way.shipped = replace(under_way.shipped, change=index.change)

    def _next_frame(self, tail: Tail, under_way: Course, index: ShmHeader) -> int:
        shipped = under_way.shipped
        same = index.salts == shipped.salts
        checksum = tail.checksum_at(shipped.frame) if same else None
        commits = None if same else tail.commits_until(index.mx_frame)
        following = continuity.follows(shipped, index, checksum, commits)
        if isinstance(following, Broken):
            raise LogBroken(following.why)
        return following

    @property
    def checkpoint_due(self) -> bool:
        """Whether enough log has gathered; best done while whoever writes is waiting for us."""
        return (
            self._tail is not None and self._course is not None and self._round_bytes(self._tail) >= self._checkpoint_at
        )

    def _checkpoint(self) -> None:
        tail = self._tail
        if tail is None or self._course is None:
            return
        if not tail.holds:
            tail.hold(self._catch_up)
        if not self.checkpoint_due:
            return
        round_bytes = self._round_bytes(tail)
        began_t = self._clock.monotonic()
        # Nothing is shipped while we wait for the writers to pause, so the patience is short until the log is long.
        patience_s = _PATIENCE_S * min(round_bytes / self._limits.checkpoint_bytes, _MOST_PATIENCE)
        try:
            complete = tail.checkpoint(self._catch_up, patience_s)
        except Busy:
            return
        tail.hold(self._catch_up)
        self._catch_up()
        left = self._round_bytes(tail)
        # A reader that is still in the old round keeps it from ending; try again when it has grown by as much once more.
        self._checkpoint_at = self._limits.checkpoint_bytes + (left if left >= round_bytes else 0)
        self._figures["checkpoints"] += 1
        took_ms = round((self._clock.monotonic() - began_t) * 1000, 1)
        self._say("checkpointed", complete=complete, log_bytes=round_bytes, took_ms=took_ms)

    def _bound(self) -> None:
        """The log must not fill the disk because the store is away."""
        tail = self._tail
        if tail is None or self._round_bytes(tail) < self._limits.cap_bytes:
            return
        size = self._round_bytes(tail)
        tail.checkpoint(_nothing)
        if self._course is not None:
            self._why = (
                f"The log had grown to {size / 1e6:.0f} MB that could not be shipped, so it was checkpointed unshipped: "
                f"{self.trouble}"
            )
            self._say("generation over", generation=self._course.generation, index=self._course.index, why=self._why)
            self._course = None
        tail.hold(_nothing)

    def _round_bytes(self, tail: Tail) -> int:
        return tail.index().mx_frame * (tail.page_size + FRAME_HEADER_BYTES)

    def _has_base(self, generation: str) -> bool:
        return any(
            entry.manifest is not None
            and entry.manifest.log is not None
            and entry.manifest.log.generation == generation
            and entry.manifest.log.after is not None
            for entry in catalogues.read(self._store).entries
        )

    def _failed(self, error: BackupError) -> None:
        """What does not follow is over at once; everything else is tried again, ever more slowly."""
        if isinstance(error, LogBroken | LogLost):
            if self._course is not None:
                self._say(
                    "generation over", generation=self._course.generation, index=self._course.index, why=str(error)
                )
            self._course, self._why = None, str(error)
        if isinstance(error, LogLost) and self._tail is not None:
            self._abandon(self._tail)
        if str(error) != self.trouble:
            self._say("cannot ship", why=str(error))
        self.trouble = str(error)
        self._retry_t = self._clock.monotonic() + RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        self._failures += 1

    def _well(self) -> None:
        if self._failures:
            self._say("shipping again", after=self._failures)
        self._copies.tell()
        self.trouble, self._failures, self._retry_t = "", 0, float("-inf")

    def _abandon(self, tail: Tail) -> None:
        """Its connections are kept open: closing the last one removes whatever log lies at that place by now."""
        with suppress(BackupError):
            tail.let_go()
        self._lost.append(tail)
        self._tail = None
        if len(self._lost) > _MOST_LOST:
            raise SystemExit(f"{self._database} was lost {_MOST_LOST} times; start again from the beginning.")


class _Base:
    """The backup that a generation needs, made in a thread. `of` is the generation that is known to have one."""

    def __init__(self, make: Base, clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._outcome: str | None = None
        self._failures = 0
        self._start_t = float("-inf")
        self.of = ""

    def found(self, generation: str) -> None:
        self.of, self._failures, self._start_t = generation, 0, float("-inf")

    def start(self, again: bool) -> None:
        """Start one unless one is under way; after a failure not at once."""
        if again:
            self._start_t = self._clock.monotonic() + RETRY_S[min(self._failures, len(RETRY_S) - 1)]
            self._failures += 1
        if self._thread is None and self._clock.monotonic() >= self._start_t:
            self._thread = threading.Thread(target=self._run, name="base", daemon=True)
            self._thread.start()

    def outcome(self) -> str | None:
        """How the one that has just ended went: empty when well, else a sentence. None while there is nothing to tell."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        return self._outcome

    def _run(self) -> None:
        self._outcome = "It ended without an outcome."
        try:
            self._make()
            self._outcome = ""
        except BackupError as error:
            self._outcome = str(error)


def _nothing() -> None:
    return
