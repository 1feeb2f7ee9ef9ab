"""From a backup to a later point: decide which segments of shipped log to lay over which backup, then lay them.

    backup  ── before ──▶ segment 41 │ 42 │ 43 │ 44 …      page images over the image of the backup, up to a commit
                             └ after ┘

The backup was read while segments `before` + 1 to `after` were being shipped, so it holds some of their commits. Laying all
of them over it is right for every commit from `after` on: each page ends as its last image says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pysqlite3 import dbapi2 as sqlite

from backups import build, disk
from backups.clock import parse, rfc3339
from backups.errors import Damaged, NothingToRestore, UsageError
from backups.format.manifest import LogSpan, Manifest
from backups.keeping import catalogue
from backups.keeping.catalogue import Catalogue
from backups.keys.keyring import Keyring
from backups.log import segments, stretch
from backups.log.points import AtPosition, AtTime, Point
from backups.log.reach import Reach, reach_of, span_of
from backups.log.runs import Run, Runs
from backups.log.segments import Header
from backups.plan import Refused
from backups.progress import Progress, silent
from backups.stores.store import Store


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What a replay will do: segments `first` to `last` of `generation` over `backup`, of the last one up to `last_frame`.

    The image then has `units` of `page_size`. Nothing is replayed when `first` is higher than `last`. With `until_position`
    the replay ends earlier, after the commit that first reaches it. `reaches` (RFC 3339) is when the last commit was read to
    be shipped, or the backup taken; `position` how far the application had come by then, at most. `cost` is a sentence about
    what lies in the store and cannot be reached, empty when nothing does.
    """

    backup: str
    generation: str
    first: int
    last: int
    last_frame: int
    units: int
    page_size: int
    commits: int
    reaches: str
    position: int | None
    until_position: int | None
    cost: str
    refused: tuple[Refused, ...]

    @property
    def segments(self) -> int:
        """How many of them will be read, at most."""
        return max(0, self.last - self.first + 1)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did. `reaches` is when its last segment was shipped."""

    segments: int
    frames: int
    commits: int
    units: int
    reaches: str


def plan(
    store: Store,
    point: Point,
    *,
    keyring: Keyring | None = None,
    known_bad: Mapping[str, str] | None = None,
    found: Catalogue | None = None,
    runs: Runs | None = None,
) -> ReplayPlan:
    """How to reach that point. Touches nothing.

    For the newest state, a log that is damaged somewhere is used up to the last good commit before, and `cost` says what
    that gives up. For a certain time or position that is no answer: they are reached exactly, or refused with
    NothingToRestore (and UsageError for what the log never held). An instant after the end of the log gives that end, until
    a later generation begins. `known_bad` are backups not to build on, with the reason.
    `runs` are what was read of the log, when that was done already.
    """
    known = found or catalogue.read(store)
    bad = dict(known_bad or {})
    work = _Planning(runs or Runs(store, keyring or Keyring.plain(), spans_in(known)), [])
    usable: list[Manifest] = []
    for entry in reversed(known.entries):
        why = bad.get(entry.id) or entry.fault
        if entry.manifest is None or why:
            work.refused.append(Refused(entry.id, why))
        else:
            usable.append(entry.manifest)
    if isinstance(point, AtTime):
        return work.at_time(usable, point)
    if isinstance(point, AtPosition):
        return work.at_position(usable, point)
    return work.newest(usable)


def spans_in(known: Catalogue) -> list[LogSpan]:
    """What the backups say of the shipped log, the bad ones too."""
    return [entry.manifest.log for entry in known.entries if entry.manifest is not None and entry.manifest.log]


@dataclass(slots=True)
class _Planning:
    runs: Runs
    refused: list[Refused]

    def newest(self, usable: list[Manifest]) -> ReplayPlan:
        """The latest of what the backups lead to. The newest with a log leads furthest of those that have one."""
        reached: list[ReplayPlan] = []
        for manifest in usable:
            reach = reach_of(manifest, self.runs)
            if reach is None:
                reached.append(self._bare(manifest, ""))
                continue
            cost = _cost(reach.run)
            reached.append(
                self._until(reach, len(reach.run.headers), cost=cost) if reach.whole else self._bare(manifest, cost)
            )
            break
        if not reached:
            reasons = " ".join(f"{one.id}: {one.why}" for one in self.refused)
            raise NothingToRestore(
                f"The store holds no backup that can be used. {reasons}"
                if reasons
                else "The store holds no backup, so there is nothing to restore."
            )
        return max(reached, key=lambda plan: parse(plan.reaches))

    def at_time(self, usable: list[Manifest], point: AtTime) -> ReplayPlan:
        for manifest in usable:
            # Asked before the log is read, which is long, and may be sealed with a key that only later points need.
            reach = reach_of(manifest, self.runs) if parse(manifest.taken) <= point.instant else None
            if reach is None:
                continue
            if reach.blocked_at(point.instant):
                raise NothingToRestore(self._blocked(reach, point))  # An older backup would give an older state.
            count = reach.segments_by(point.instant)
            if count is None:
                continue
            later = self.runs.following(reach.run.generation)
            if later is not None and reach.ends < point.instant >= later.since:
                raise NothingToRestore(
                    f"No good backup leads to {point}: the log of {reach.run.generation} had ended by then, and that of "
                    f"{later.generation} had begun. What can be reached before it is {rfc3339(reach.ends)}."
                )
            return self._until(reach, count)
        raise NothingToRestore(
            f"No backup with a shipped log reaches back to {point.instant.isoformat()}: choose a later time."
        )

    def at_position(self, usable: list[Manifest], point: AtPosition) -> ReplayPlan:
        furthest = None
        for manifest in usable:
            at = manifest.facts.position
            if span_of(manifest) is None or at is None:
                continue
            furthest = max(furthest or 0, at)
            reach = reach_of(manifest, self.runs) if at < point.position else None
            if reach is None:
                continue
            furthest = max(furthest, reach.furthest or at)
            if reach.furthest is not None and reach.furthest >= point.position:
                return self._until(reach, len(reach.run.headers), until_position=point.position)
            if reach.run.fault:
                raise NothingToRestore(self._blocked(reach, point))
            break  # Older backups lead through the same log, or to an earlier one.
        if furthest is None:
            raise UsageError("The shipped log does not tell positions; choose a time.")
        if point.position > furthest:
            raise UsageError(f"Position {point.position} was never shipped: the log comes to {furthest}.")
        raise NothingToRestore(
            f"Position {point.position} lies before the shipped log of any backup, or between two generations of it: choose "
            "another one."
        )

    def _blocked(self, reach: Reach, point: Point) -> str:
        run = reach.run
        until = run.headers[-1].read_at if run.headers else reach.manifest.taken
        return f"{run.fault} So {point} cannot be reached exactly; what can is the newest state before it, of {until}."

    def _bare(self, manifest: Manifest, cost: str) -> ReplayPlan:
        """The backup as it is."""
        span = manifest.log
        return self._plan(manifest, span.generation if span else "", 1, 0, 0, manifest.units, 0, None, cost, None)

    def _until(self, reach: Reach, count: int, *, cost: str = "", until_position: int | None = None) -> ReplayPlan:
        """The first `count` segments of the run, up to the last commit in them."""
        manifest, run = reach.manifest, reach.run
        used = Run(run.generation, run.headers[:count], "", 0)
        commit = used.last_commit
        if commit is None:
            return self._plan(manifest, run.generation, 1, 0, 0, manifest.units, 0, None, cost, None)
        last, frame, units = commit
        headers = run.headers[: last - reach.before]
        return self._plan(
            manifest,
            run.generation,
            reach.before + 1,
            last,
            frame,
            units,
            segments.commits_in(headers),
            headers[-1],
            cost,
            until_position,
        )

    def _plan(
        self,
        manifest: Manifest,
        generation: str,
        first: int,
        last: int,
        frame: int,
        units: int,
        commits: int,
        end: Header | None,
        cost: str,
        until_position: int | None,
    ) -> ReplayPlan:
        # Segments that only repeat what the backup has were read before it was complete; it is the later of the two.
        instants = [manifest.taken, *([end.read_at] if end else [])]
        return ReplayPlan(
            backup=manifest.id,
            generation=generation,
            first=first,
            last=last,
            last_frame=frame,
            units=units,
            page_size=manifest.unit_bytes,
            commits=commits,
            reaches=max(instants, key=parse),
            position=end.position if end else manifest.facts.position,
            until_position=until_position,
            cost=cost,
            refused=tuple(self.refused),
        )


def rebuild(
    store: Store, plan: ReplayPlan, into: Path, keyring: Keyring | None = None, progress: Progress = silent
) -> Replayed:
    """The database at the point of the plan, in the new file `into`: backup and log, durable on return.

    Raises Damaged when the backup or the log cannot give that any more; `into` is then junk.
    """
    keys = keyring or Keyring.plain()
    known = catalogue.read(store)
    manifest = known.find(plan.backup).manifest
    if manifest is None:
        raise Damaged(f"The backup {plan.backup} is not there any more.")
    build.build(store, known, manifest, into, keys, progress)
    return apply(store, plan, into, keys, position_of=manifest.facts.position_of)


def apply(
    store: Store, plan: ReplayPlan, image: Path, keyring: Keyring | None = None, *, position_of: str | None = None
) -> Replayed:
    """Lay the log over `image`, which holds the plan's backup and is open nowhere. Durable on return. Raises Damaged."""
    runs = Runs(store, keyring or Keyring.plain())
    done = _Laying(image, plan, position_of)
    if plan.segments:
        sealers = runs.sealers(plan.generation)
        with disk.plainly(f"replaying the log over {image}"), image.open("r+b", buffering=0) as file:
            for index in range(plan.first, plan.last + 1):
                stored = runs.stored(plan.generation, index)
                sealer = sealers.get(stored.header.key_id)
                if sealer is None:
                    name = segments.name_of(plan.generation, index)
                    raise Damaged(f"{name} is sealed with the key {stored.header.key_id}, whose envelope is missing.")
                if done.lay(file.fileno(), stored.header, segments.frames_of(stored, sealer)):
                    break
            file.truncate(done.units * plan.page_size)
            disk.sync(file)
    if plan.until_position is not None and not done.reached:
        raise Damaged(f"The log was replayed to its end and position {plan.until_position} was not reached.")
    return Replayed(done.segments, done.frames, done.commits, done.units, done.reaches)


class _Laying:
    """The pages of the log, written over an image one commit after another."""

    def __init__(self, image: Path, plan: ReplayPlan, position_of: str | None) -> None:
        self._image = image
        self._plan = plan
        self._position_of = position_of
        self.segments = self.frames = self.commits = 0
        self.units = plan.units
        self.reaches = plan.reaches
        self.reached = False

    def lay(self, descriptor: int, header: Header, frames: bytes) -> bool:
        """Lay one segment; True when the end was reached inside it."""
        plan = self._plan
        number, page_size = header.first - 1, plan.page_size
        wanted = plan.until_position
        ask = wanted is not None and (header.position is None or header.position >= wanted)
        last = plan.last_frame if header.index == plan.last else header.last
        self.segments += 1
        self.reaches = header.read_at
        for frame, page in stretch.frames_in(frames, page_size):
            number += 1
            if number > last:
                return True
            build.write_at(descriptor, page, (frame.page - 1) * page_size)
            self.frames += 1
            if frame.units:
                self.commits += 1
                self.units = frame.units
                if ask and wanted is not None and self._come_to(descriptor, wanted):
                    self.reached = True
                    return True
        return False

    def _come_to(self, descriptor: int, wanted: int) -> bool:
        os.ftruncate(descriptor, self.units * self._plan.page_size)
        position = _position_in(self._image, self._position_of)
        return position is not None and position >= wanted


def _position_in(image: Path, position_of: str | None) -> int | None:
    """The highest value of the monotone column; None in an image that is between two states and cannot be read."""
    if position_of is None:
        return None
    table, column = position_of.split(".")
    try:
        with closing(sqlite.connect(f"file:{quote(str(image))}?mode=ro&immutable=1", uri=True)) as database:
            value: int | None = database.execute(f"SELECT max({column}) FROM {table}").fetchone()[0]  # noqa: S608
    except sqlite.DatabaseError:
        return None
    return value


def _cost(run: Run) -> str:
    if not run.fault:
        return ""
    if not run.lost:
        return run.fault
    until = f", which was read at {run.headers[-1].read_at}" if run.headers else ""
    count = "1 segment" if run.lost == 1 else f"{run.lost} segments"
    return f"{run.fault} The replay ends before it{until}; {count} of shipped log cannot be used."
