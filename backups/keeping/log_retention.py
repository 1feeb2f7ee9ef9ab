"""Which of the shipped log to keep, and why: what the kept backups lead into, and what is being written. Pure.

    generation 1   ·················     no kept backup leads into it: it goes
    generation 2   ······●━━━━━━━━━━     from the oldest kept backup on; what lies before it goes
    generation 3   ·━━━━━━━━━━━━━━━▶     the live one: never less than what came after its newest backup

A backup that is kept keeps its log to the end of the generation, a pinned one too: without it there would be instants that
the timeline promised yesterday.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backups.keeping.catalogue import Entry
from backups.log.expiry import Cut
from backups.log.logbook import Generation
from backups.log.segments import sequence_of


@dataclass(frozen=True, slots=True)
class LogDecision:
    """Whether that part of the log stays, and why, as a few words. `cut` is what goes; of what stays it is the rest."""

    cut: Cut
    keep: bool
    reason: str
    segments: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class Leading:
    """A backup that leads into the log: with its segments from `first` on, later states can be had."""

    backup: str
    generation: str
    first: int


def decide(
    generations: Sequence[Generation], entries: Sequence[Entry], kept: frozenset[str]
) -> tuple[LogDecision, ...]:
    """A decision on every generation, oldest first; two on one that is kept in part. `kept` are the backups that stay."""
    unread = next((entry.id for entry in entries if entry.manifest is None), "")
    leading = [one for entry in entries if entry.id in kept and (one := _leading(entry)) is not None]
    newest = max((sequence_of(one.generation) or 0 for entry in entries if (one := _leading(entry))), default=0)
    return tuple(
        decision for one in generations for decision in _decisions(one, one is generations[-1], unread, leading, newest)
    )


def allowed(cut: Cut, leaving: Sequence[Cut]) -> bool:
    """Whether nothing goes with that cut that is not to go."""
    return any(
        one.generation == cut.generation and (one.below is None or (cut.below is not None and cut.below <= one.below))
        for one in leaving
    )


def _decisions(
    one: Generation, live: bool, unread: str, leading: Sequence[Leading], newest: int
) -> Iterator[LogDecision]:
    oldest = min((lead for lead in leading if lead.generation == one.id), key=lambda lead: lead.first, default=None)
    if unread:
        yield _decision(one, f"the manifest of {unread} cannot be read, so nobody knows what it needs")
    elif oldest is not None:
        # Whoever takes up the live one again begins behind its last segment.
        first = min(oldest.first, one.last) if live else oldest.first
        if any(index < first for index in one.sizes):
            yield _decision(one, "no kept backup reaches back so far", keep=False, below=first)
        yield _decision(one, f"{oldest.backup} leads into it", first=first)
    elif live:
        yield _decision(one, "it is being written")
    elif one.sequence > newest:
        yield _decision(one, "no backup was made since")
    else:
        yield _decision(one, "no kept backup leads into it", keep=False)


def _decision(
    one: Generation, reason: str, *, keep: bool = True, below: int | None = None, first: int = 0
) -> LogDecision:
    sizes = [size for index, size in one.sizes.items() if index >= first and (below is None or index < below)]
    return LogDecision(Cut(one.id, below), keep, reason, len(sizes), sum(sizes))


def _leading(entry: Entry) -> Leading | None:
    log = entry.manifest.log if entry.manifest else None
    return None if log is None or log.after is None else Leading(entry.id, log.generation, log.before + 1)
