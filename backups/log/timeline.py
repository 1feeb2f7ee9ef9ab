"""What a store can be restored to: the spans of time and position that its log covers, and why there are gaps between them.

    backup ●━━━━━━━━━━━━━━━━━━●━━━━━━━━━━▶ newest       a span: every instant, every position
    backup ●━━━━━━━━▶   gap   ●━━━━━━━━━━▶              the log broke off, or a segment is missing: the next backup goes on
    backup ●                  ●                         no log: the backups alone

What is said here is what a restore does: both ask the same reaches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from backups.clock import parse
from backups.errors import KeyMissing, KeyRotated, NothingToRestore, WrongKey
from backups.format.manifest import Manifest
from backups.keeping import catalogue as catalogues
from backups.keeping.catalogue import Catalogue, Entry
from backups.keys.keyring import Keyring
from backups.log import replay, segments
from backups.log.logbook import Generation
from backups.log.points import Newest
from backups.log.reach import Reach, reach_of, span_of
from backups.log.runs import Run, Runs
from backups.stores.store import Store

_INSTANT: Final = timedelta(milliseconds=1)
"""The finest difference between two instants that records tell."""


@dataclass(frozen=True, slots=True)
class Span:
    """A backup, or several in one stretch of the log that holds together.

    Every instant of `to_time` and every position of `to_position` can be restored to, ends included; None when none can, and
    the backups alone remain. `generation` is None for a backup without a log; `fault` is why the log goes no further.
    """

    backups: tuple[str, ...]
    taken: datetime
    generation: str | None = None
    to_time: tuple[datetime, datetime] | None = None
    to_position: tuple[int, int] | None = None
    segments: int = 0
    commits: int = 0
    log_bytes: int = 0
    fault: str = ""

    @property
    def begins(self) -> datetime:
        return self.to_time[0] if self.to_time else self.taken

    @property
    def ends(self) -> datetime:
        return self.to_time[1] if self.to_time else self.taken


@dataclass(frozen=True, slots=True)
class Gap:
    """Between two spans, before the first or after the last: what was committed there cannot be restored to, and why.

    Instants in it give the state at `after`, as nothing that was shipped later is known of; from `refused_from` on they are
    refused. None of `until` is still going on.
    """

    after: datetime
    until: datetime | None
    refused_from: datetime | None
    why: str


@dataclass(frozen=True, slots=True)
class NewestPoint:
    """As far as a restore comes now. `cost` is what lies in the store and cannot be reached."""

    reaches: datetime
    position: int | None
    backup: str
    cost: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything that a store can be restored to, oldest first. `newest` is None when that is nothing.

    `proved` when every byte of the log was read; else damage inside a segment would not show.
    """

    spans: tuple[Span, ...]
    gaps: tuple[Gap, ...]
    newest: NewestPoint | None
    proved: bool


def read(store: Store, keyring: Keyring | None = None, *, prove: bool = False) -> Timeline:
    """The timeline of the store: manifests, and the header of each segment; with `prove` every byte of the segments.

    A log that the keys cannot open is a gap that says so.
    """
    known = catalogues.read(store)
    runs = Runs(store, keyring or Keyring.plain(), replay.spans_in(known), proving=prove)
    usable = [entry.manifest for entry in known.entries if entry.manifest is not None and not entry.fault]
    reaches = [reach for manifest in usable if (reach := _reach(manifest, runs)) is not None]
    logged = spans_of(reaches, {one.id: one for one in runs.generations})
    alone = [Span((one.id,), parse(one.taken)) for one in usable if span_of(one) is None]
    order = {entry.id: number for number, entry in enumerate(known.entries)}
    return Timeline(
        spans=tuple(sorted((*logged, *alone), key=lambda span: order[span.backups[0]])),
        gaps=tuple(_gaps(logged, runs, known)),
        newest=_newest(store, known, runs),
        proved=prove,
    )


def spans_of(reaches: Sequence[Reach], generations: dict[str, Generation]) -> tuple[Span, ...]:
    """The reaches of backups, oldest first, put together to spans. Pure."""
    joined: list[list[Reach]] = []
    for reach in reaches:
        if joined and _holds_together(joined[-1][-1], reach):
            joined[-1].append(reach)
        else:
            joined.append([reach])
    spans: list[Span] = []
    newer_taken: datetime | None = None
    newer_position: int | None = None
    for group in reversed(joined):
        positions, newer_position = _positions(group, newer_position)
        known = generations.get(group[0].run.generation)
        spans.append(_span(group, known, _instants(group, newer_taken), positions))
        earliest = min(parse(reach.manifest.taken) for reach in group)
        newer_taken = min(newer_taken, earliest) if newer_taken else earliest
    return tuple(reversed(spans))


def _holds_together(older: Reach, newer: Reach) -> bool:
    """Whether the log leads from one backup to the other, and on to somewhere from there."""
    if older.run.generation != newer.run.generation or _alone(newer) is None:
        return False
    return older.before <= newer.before < older.before + len(older.run.headers) or not older.run.fault


def _instants(group: Sequence[Reach], newer_taken: datetime | None) -> tuple[datetime, datetime] | None:
    """From the first backup to the end of the log. After a clock was set back, the newer backups speak for their time."""
    found = [instants for reach in group if (instants := _alone(reach)) is not None]
    if not found:
        return None
    begins, ends = min(first for first, _ in found), max(last for _, last in found)
    if newer_taken is not None and newer_taken <= ends:
        ends = newer_taken - _INSTANT
    return (begins, ends) if begins <= ends else None


def _alone(reach: Reach) -> tuple[datetime, datetime] | None:
    """The instants that this backup leads to."""
    begins, ends = reach.begins, reach.ends
    if begins is None or reach.blocked_at(begins):
        return None
    # Behind a fault there may be more that was read in the very instant of the last good segment.
    return begins, ends - _INSTANT if reach.run.fault else ends


def _positions(group: Sequence[Reach], newer: int | None) -> tuple[tuple[int, int] | None, int | None]:
    """The positions that lead to these backups and not to a newer one; and the lowest position of a backup so far."""
    found: list[tuple[int, int]] = []
    for reach in reversed(group):
        at, furthest = reach.manifest.facts.position, reach.furthest
        if at is None:
            continue
        if furthest is not None:
            last = furthest if newer is None else min(furthest, newer)
            found += [(at + 1, last)] if at < last else []
        newer = at if newer is None else min(newer, at)
    if not found:
        return None, newer
    return (min(first for first, _ in found), max(last for _, last in found)), newer


def _span(
    group: Sequence[Reach],
    known: Generation | None,
    instants: tuple[datetime, datetime] | None,
    positions: tuple[int, int] | None,
) -> Span:
    run = group[0].run
    return Span(
        backups=tuple(reach.manifest.id for reach in group),
        taken=parse(group[0].manifest.taken),
        generation=run.generation,
        to_time=instants,
        to_position=positions,
        segments=len(run.headers),
        commits=segments.commits_in(run.headers),
        log_bytes=sum(known.sizes.get(header.index, 0) for header in run.headers) if known else 0,
        fault=run.fault,
    )


def _reach(manifest: Manifest, runs: Runs) -> Reach | None:
    """How far it leads; nowhere, with the reason, when the keys at hand cannot read the log."""
    try:
        return reach_of(manifest, runs)
    except (KeyMissing, WrongKey, KeyRotated) as error:
        span = span_of(manifest)
        assert span is not None
        return Reach(manifest, span.before, span.after or span.before, Run(span.generation, (), str(error), 0))


def _gaps(spans: Sequence[Span], runs: Runs, known: Catalogue) -> Iterable[Gap]:
    led_into = {span.generation for span in spans}
    stray = [one for one in runs.generations if one.id not in led_into]
    if not spans:
        return
    yield from _leading(spans[0], stray, known)
    for span, later in pairwise(spans):
        between = [_strayed(one, known) for one in stray if _between(one, span, later)]
        begun = "" if span.generation == later.generation else runs.why(later.generation or "")
        yield replace(
            _after(span, runs), until=later.begins, why=" ".join(filter(None, (span.fault or begun, *between)))
        )
    last = spans[-1]
    behind = [_strayed(one, known) for one in stray if _between(one, last, None)]
    if last.fault or behind:
        yield replace(_after(last, runs), why=" ".join(filter(None, (last.fault, *behind))))


def _leading(first: Span, stray: Sequence[Generation], known: Catalogue) -> Iterable[Gap]:
    before = [one for one in stray if _between(one, None, first)]
    if before:
        began = segments.began_at(before[0].id)
        yield Gap(began, first.begins, began, " ".join(_strayed(one, known) for one in before))


def _after(span: Span, runs: Runs) -> Gap:
    """What comes after that span, the reason left out."""
    assert span.generation is not None
    later = runs.following(span.generation)
    first = span.ends + _INSTANT
    refused_from = first if span.fault else max(first, later.since) if later else None
    return Gap(span.ends, None, refused_from, "")


def _between(one: Generation, older: Span | None, newer: Span | None) -> bool:
    after = segments.sequence_of(older.generation) if older and older.generation else 0
    before = segments.sequence_of(newer.generation) if newer and newer.generation else None
    return (after or 0) < one.sequence and (before is None or one.sequence < before)


def _strayed(one: Generation, known: Catalogue) -> str:
    """Why that generation leads nowhere."""
    bad = [entry for entry in known.entries if entry.fault and _leads_into(entry, one)]
    count = "1 segment" if len(one.sizes) == 1 else f"{len(one.sizes)} segments"
    if bad:
        return f"{count} of {one.id} cannot be used, because {bad[0].id} cannot: {bad[0].fault}"
    return f"{count} of {one.id} cannot be used, because no backup leads there."


def _leads_into(entry: Entry, one: Generation) -> bool:
    return entry.manifest is not None and entry.manifest.log is not None and entry.manifest.log.generation == one.id


def _newest(store: Store, known: Catalogue, runs: Runs) -> NewestPoint | None:
    try:
        plan = replay.plan(store, Newest(), found=known, runs=runs)
    except (NothingToRestore, KeyMissing, WrongKey, KeyRotated):
        return None
    return NewestPoint(parse(plan.reaches), plan.position, plan.backup, plan.cost)
