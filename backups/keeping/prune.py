"""Deleting what retention does not keep, in two phases: marked now, deleted once the mark is old enough.

    manifests/<id>.expired.json       the mark: from now on nothing is restored from it unasked
    delete: manifest, its records, its objects, the mark last, increments before what they build on; then their log

The mark goes last, so that a run that was killed half-way is finished by the next one. A mark is taken back when a rule
keeps the backup again. Log goes after the backups that lead into it, and never while one of them is still there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from backups.clock import SYSTEM, Clock, rfc3339
from backups.errors import StoreError
from backups.format import manifest as manifests
from backups.format import marks
from backups.keeping import catalogue as catalogues
from backups.keeping import log_retention, retention
from backups.keeping.catalogue import Entry
from backups.keeping.log_retention import LogDecision
from backups.keeping.retention import Decision, Kept, Policy
from backups.log import expiry, logbook
from backups.log.expiry import Cut
from backups.stores.store import Store

GRACE: Final = timedelta(hours=24)
"""How long a marked backup can be had back by pinning it."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a run decided and did; with `dry_run` nothing was done. `finished` are remains of a run that was killed."""

    decisions: tuple[Decision, ...]
    marked: tuple[str, ...]
    unmarked: tuple[str, ...]
    deleted: tuple[str, ...]
    finished: tuple[str, ...]
    log: LogPruned
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class LogPruned:
    """The same of the shipped log."""

    decisions: tuple[LogDecision, ...]
    marked: tuple[Cut, ...]
    unmarked: tuple[Cut, ...]
    deleted: tuple[Cut, ...]


def prune(
    store: Store, policy: Policy, *, grace: timedelta = GRACE, dry_run: bool = False, clock: Clock = SYSTEM
) -> Pruned:
    """Mark what no rule keeps, and delete what was marked at least `grace` ago and still is not kept.

    Alone: raises Locked while somebody backs up to the store or restores from it. Raises ClockJumped when the clock cannot
    be believed, and StoreError when a store is away: what is deleted only here would come back from there.
    """
    if dry_run:
        return _Pruning(store, policy, grace, clock).run(dry_run=True)
    with store.exclusive("prune", alone=True):
        return _Pruning(store, policy, grace, clock).run(dry_run=False)


@dataclass(frozen=True, slots=True)
class _Pruning:
    store: Store
    policy: Policy
    grace: timedelta
    clock: Clock

    def run(self, *, dry_run: bool) -> Pruned:
        now = self.clock.now()
        entries = catalogues.read(self.store).entries
        if self.store.trouble:
            raise StoreError(f"Nothing was deleted, because a store is away. {' '.join(self.store.trouble)}")
        decisions = retention.decide(map(Kept.of, entries), self.policy, now)
        expired = marks.expirations(self.store)
        leaving = [one.id for one in decisions if not one.keep]
        known = {entry.id for entry in entries}
        due = [id for id in leaving if id in expired and now - expired[id] >= self.grace]
        pruned = Pruned(
            decisions=decisions,
            marked=tuple(id for id in leaving if id not in expired),
            unmarked=tuple(one.id for one in decisions if one.keep and one.id in expired),
            deleted=tuple(reversed(due)),
            finished=tuple(sorted(expired.keys() - known)),
            log=self.log(entries, frozenset(one.id for one in decisions if one.keep), frozenset(known) - {*due}, now),
            dry_run=dry_run,
        )
        if not dry_run:
            self.act(pruned, rfc3339(now))
        return pruned

    def log(self, entries: Sequence[Entry], kept: frozenset[str], staying: frozenset[str], now: datetime) -> LogPruned:
        """What is to go of the log when `kept` are the backups to keep, and `staying` those that are there afterwards."""
        generations, marked = logbook.generations(self.store), expiry.marked(self.store)
        decisions = log_retention.decide(generations, entries, kept)
        leaving = [one.cut for one in decisions if not one.keep]
        going = [cut for cut in marked if log_retention.allowed(cut, leaving)]
        unneeded = [one.cut for one in log_retention.decide(generations, entries, staying) if not one.keep]
        due = [cut for cut in going if now - marked[cut] >= self.grace and log_retention.allowed(cut, unneeded)]
        return LogPruned(
            decisions=decisions,
            marked=tuple(cut for cut in leaving if cut not in marked),
            unmarked=tuple(cut for cut in marked if cut not in going),
            deleted=tuple(due),
        )

    def act(self, pruned: Pruned, at: str) -> None:
        for id in pruned.unmarked:
            self.store.delete(marks.expired_name(id))
        for cut in pruned.log.unmarked:
            self.store.delete(cut.mark)
        for id in (*pruned.finished, *pruned.deleted):
            self.delete(id)
        for cut in pruned.log.deleted:
            expiry.delete(self.store, cut)
        for id in pruned.marked:
            marks.expire(self.store, id, at=at)
        for cut in pruned.log.marked:
            expiry.mark(self.store, cut, at=at)

    def delete(self, id: str) -> None:
        mark = marks.expired_name(id)
        self.store.delete(manifests.name_of(id))
        for stored in self.store.list(f"{manifests.PREFIX}{id}."):
            if stored.name != mark:
                self.store.delete(stored.name)
        for stored in self.store.list(f"objects/{id}/"):
            self.store.delete(stored.name)
        self.store.delete(mark)
