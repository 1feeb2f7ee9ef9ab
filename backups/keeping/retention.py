"""Which backups to keep, and why: grandfather, father, son, and never the last ones that are known to be good. Pure.

Every backup gets a decision with its reason. Days, weeks and months are those of UTC; of each that has good backups the
newest good one stands for it. Order is that of the sequence; the clock is only believed while it agrees with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from backups.errors import ClockJumped
from backups.keeping.catalogue import Entry

AHEAD: Final = timedelta(minutes=5)
"""How far a backup may lie in the future before the clock is not believed any more."""
BACK: Final = timedelta(hours=1)
"""How far a later backup may lie before an earlier one."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How many days, weeks and months are kept, and how long every backup is; `verified` good ones stay in any case."""

    recent_hours: int = 48
    daily: int = 7
    weekly: int = 5
    monthly: int = 12
    verified: int = 3


@dataclass(frozen=True, slots=True)
class Kept:
    """What retention looks at in one backup. `unread` is one whose manifest could not be read.

    `generation` is that of the shipped log that it leads into.
    """

    id: str
    sequence: int
    taken: datetime
    parent: str | None = None
    good: bool = True
    verified: bool = False
    rehearsed: bool = False
    pinned: bool = False
    unread: bool = False
    generation: str | None = None

    @classmethod
    def of(cls, entry: Entry) -> Kept:
        good, log = not entry.fault, entry.manifest.log if entry.manifest else None
        return cls(
            id=entry.id,
            sequence=entry.sequence,
            taken=entry.taken,
            parent=entry.parent,
            good=good,
            verified=good and entry.level >= 3,
            rehearsed=good and entry.level >= 5,
            pinned=entry.pinned,
            unread=entry.manifest is None,
            generation=log.generation if log and log.after is not None else None,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether that backup stays, and why, as a few words."""

    id: str
    keep: bool
    reason: str


def decide(backups: Iterable[Kept], policy: Policy, now: datetime) -> tuple[Decision, ...]:
    """A decision on every backup, oldest first. Raises ClockJumped when the clock and the sequence contradict each other."""
    ordered = sorted(backups, key=lambda one: (one.sequence, one.id))
    _require_clock(ordered, now)
    reasons: dict[str, str] = {}
    for backup, reason in _reasons(ordered, policy, now):
        reasons.setdefault(backup, reason)
    _keep_parents({one.id: one for one in ordered}, reasons)
    return tuple(
        Decision(one.id, True, reasons[one.id]) if one.id in reasons else Decision(one.id, False, _why_not(one))
        for one in ordered
    )


def _reasons(ordered: Sequence[Kept], policy: Policy, now: datetime) -> Iterator[tuple[str, str]]:
    good = [one for one in ordered if one.good]
    for one in ordered:
        if one.pinned:
            yield one.id, "pinned"
        if one.unread:
            yield one.id, "its manifest cannot be read: look at it first"
    if good:
        yield good[-1].id, "the newest"
    # Without it the shipped log would lead nowhere, and a restore would end at a backup instead of a second ago.
    for one in [one for one in good if one.generation][-1:]:
        yield one.id, "the newest that the shipped log goes on from"
    for one in [one for one in good if one.rehearsed][-1:]:
        yield one.id, "the newest rehearsed"
    for one in [one for one in good if one.verified][-policy.verified :] if policy.verified else []:
        yield one.id, f"one of the {policy.verified} newest verified"
    for one in good:
        if now - one.taken <= timedelta(hours=policy.recent_hours):
            yield one.id, f"younger than {policy.recent_hours} hours"
    yield from _periods(good, policy.daily, "day", lambda taken: taken.strftime("%Y-%m-%d"))
    yield from _periods(good, policy.weekly, "week", lambda taken: taken.strftime("%G-W%V"))
    yield from _periods(good, policy.monthly, "month", lambda taken: taken.strftime("%Y-%m"))


def _periods(
    good: Sequence[Kept], count: int, what: str, period_of: Callable[[datetime], str]
) -> Iterator[tuple[str, str]]:
    newest = {period_of(one.taken): one.id for one in good}
    for period in sorted(newest)[-count:] if count else []:
        yield newest[period], f"the last of its {what}, {period}"


def _keep_parents(by_id: Mapping[str, Kept], reasons: dict[str, str]) -> None:
    for kept in list(reasons):
        one = by_id[kept]
        while one.parent is not None and one.parent in by_id:
            child, one = one.id, by_id[one.parent]
            reasons.setdefault(one.id, f"{child} builds on it")


def _why_not(one: Kept) -> str:
    return "no rule keeps it" if one.good else "no rule keeps it, and it is suspect"


def _require_clock(ordered: Sequence[Kept], now: datetime) -> None:
    for one in ordered:
        if one.taken > now + AHEAD:
            raise ClockJumped(
                f"Backup {one.id} was taken {(one.taken - now).total_seconds() / 3600:.1f} hours from now, so one of the "
                "clocks is wrong: set it right, then prune. Nothing was deleted."
            )
    for earlier, later in pairwise(ordered):
        if later.taken < earlier.taken - BACK:
            raise ClockJumped(
                f"Backup {later.id} comes after {earlier.id} and was taken before it: the clock was set back in between, so "
                "nobody knows how old they are. Pin what is to be kept, or delete by hand. Nothing was deleted."
            )
