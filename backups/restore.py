"""Restoring: decide, build beside, check, fence, exchange, reopen. Each phase is timed; only the exchange is destructive.

    store --> <db>.restoring --check--> (writers gone) --rename--> <db>        old files --> <db>.evidence-<stamp>/

In place (`delta`), only the pages that differ are fetched, and overwritten after the old ones were kept; see `delta.py`.

A backup that turns out bad is refused and the next older one takes its place, with what that costs in the answer. Nothing
is ever written to the store, which may be read-only on the day it is needed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import TypeVar

from backups import build, delta, disk, lock
from backups import plan as plans
from backups import swap as swaps
from backups.clock import SYSTEM, Clock, compact
from backups.delta import Difference
from backups.engine import Engine
from backups.errors import BackupError, Damaged, InUse, NothingToRestore, UsageError
from backups.format.stored_chain import StoredChain, open_chain
from backups.keeping import catalogue as catalogues
from backups.keeping.catalogue import Catalogue
from backups.keys.keyring import Keyring
from backups.log import replay as replays
from backups.log.points import Point
from backups.log.replay import Replayed
from backups.plan import NoRestore, RestorePlan, Target
from backups.progress import Progress, silent
from backups.restoration import Restoration, Stopwatch
from backups.stores.store import Store
from backups.swap import Swap, restore_lock_of

_Made = TypeVar("_Made")

Fence = Callable[[], None]
"""Makes sure that nobody writes to the database any more, and returns when that is so."""


def plan_restore(
    engine: Engine,
    store: Store,
    database: str,
    *,
    backup: str | None = None,
    in_place: bool = False,
    point: Point | None = None,
    keyring: Keyring | None = None,
    clock: Clock = SYSTEM,
) -> RestorePlan:
    """What `restore` would do now, as far as catalogue and log tell. Touches nothing. Raises NothingToRestore."""
    path = engine.path_of(database)
    evidence = _evidence_of(path, clock)
    in_place = in_place and not delta.why_not(path)
    target = _target(engine, path, backup, evidence, in_place)
    return _decided(store, catalogues.read(store), target, {}, point, keyring or Keyring.plain())


def restore(
    engine: Engine,
    store: Store,
    database: str,
    *,
    backup: str | None = None,
    in_place: bool = False,
    point: Point | None = None,
    keyring: Keyring | None = None,
    fence: Fence | None = None,
    progress: Progress = silent,
    clock: Clock = SYSTEM,
    free_bytes: disk.FreeBytes = disk.free_bytes,
) -> Restoration:
    """Put the database back from that backup, or from the newest good one.

    On return the database at its place is bit for bit the one that was backed up, durable and opened once, no log of the
    old one lies beside it, and its old files are kept as evidence. A database that any process has open is refused (InUse,
    naming them): at once without a `fence`; with one, after it was called, which is when the build is ready.

    With a `point` the shipped log is replayed over the backup that leads there, to the newest state or an earlier one; of
    what comes out the structure is checked, as nobody measured it before. It goes with neither `backup` nor `in_place`.

    `in_place` repairs the file that is there, fetching only what differs; the fence is then called first. Where there is no
    file to repair it is built anew, and the result says why.

    Raises NothingToRestore, InUse, NoSpace, Locked or another BackupError: the old files are then where they were, unless
    the exchange itself was interrupted, and running restore again makes that good.
    """
    path = engine.path_of(database)
    if path.is_dir():
        raise UsageError(f"{path} is a directory; name the database file to restore.")
    if point is not None and (backup is not None or in_place):
        raise UsageError(
            "A point in time is reached from the backup that leads there, built anew: name no backup for it."
        )
    with disk.plainly(f"the restore of {path}"):
        disk.make_directories(path.parent)
        purpose = f"restore of {path}"
        with lock.hold(restore_lock_of(path), purpose), store.shared(purpose):
            if fence is None:
                _require_closed(engine, path)
            earlier = _touched_earlier(path)
            evidence = Path(earlier.evidence) if earlier else _evidence_of(path, clock)
            why_whole = delta.why_not(path) if in_place else ""
            in_place = in_place and not why_whole
            target = _target(engine, path, backup, evidence, in_place)
            work = _Work(
                engine,
                store,
                target,
                earlier,
                point,
                keyring or Keyring.plain(),
                Stopwatch(clock),
                progress,
                free_bytes,
            )
            return work.repair(fence) if in_place else work.restore(fence, why_whole)


@dataclass(frozen=True, slots=True)
class _Work:
    """One restore under way: what it works on, and its steps. `earlier` is an exchange that was killed half-way."""

    engine: Engine
    store: Store
    target: Target
    earlier: Swap | None
    point: Point | None
    keyring: Keyring
    timed: Stopwatch
    progress: Progress
    free_bytes: disk.FreeBytes

    def restore(self, fence: Fence | None, why_whole: str) -> Restoration:
        """Build the newest backup that proves good beside the database, and exchange the two."""
        plan, chain, replayed = self.best(self.build)
        swap = self.swap_of(plan)
        with self.withdrawn_on_failure(swap):
            self.fence(fence, plan.backup)
        with self.timed("swap", plan.backup):
            swaps.exchange(swap)
        with self.timed("reopen", plan.backup):
            facts = None if replayed else chain.table.manifest.facts
            self.require_opening(plan.backup, self.engine.reopen(plan.database, facts))
        return self.result(plan, chain.fetch_bytes(), why_whole=why_whole, replayed=replayed)

    def repair(self, fence: Fence | None) -> Restoration:
        """Overwrite in place what differs from the newest backup that can give it."""
        self.fence(fence, None)
        plan, chain, difference = self.best(self.stage)
        swap, facts = self.swap_of(plan), chain.table.manifest.facts
        with self.withdrawn_on_failure(swap), self.timed("keep", plan.backup):
            delta.keep(swap, chain.table, difference)
        with self.timed("swap", plan.backup):
            delta.exchange(swap, chain.table, difference)
        with self.timed("check", plan.backup), ThreadPoolExecutor(1, "check") as beside:
            checked = beside.submit(self.engine.check, plan.database, facts, deep=False)
            delta.require_image(plan.database, chain.table, chain.key, plan.evidence, self.progress)
            self.require_opening(plan.backup, checked.result())
        with self.timed("reopen", plan.backup):
            self.require_opening(plan.backup, self.engine.reopen(plan.database, facts))
            delta.finish(swap)
        return self.result(plan, chain.fetch_bytes(difference.flags))

    def fence(self, fence: Fence | None, backup: str | None) -> None:
        with self.timed("fence", backup):
            if fence is not None:
                fence()
            _require_closed(self.engine, self.target.path)

    def best(self, attempt: Callable[[RestorePlan, StoredChain], _Made]) -> tuple[RestorePlan, StoredChain, _Made]:
        """Attempt the newest backup, and the next older one for as long as they turn out bad. The plan is written down."""
        catalogue = catalogues.read(self.store)
        learned = plans.Learned()
        while True:
            try:
                with self.timed("decide"):
                    plan = _decided(self.store, catalogue, self.target, learned.bad, self.point, self.keyring)
                    if not self.target.in_place:
                        self.require_room(plan, plan.build_bytes)
                swap = self.swap_of(plan)
                with self.withdrawn_on_failure(swap):
                    swaps.write_down(self.earlier or swap)
                    return self.from_any_copy(catalogue, plan, attempt)
            except Damaged as error:
                learned.damage(error, plan)

    def from_any_copy(
        self, catalogue: Catalogue, plan: RestorePlan, attempt: Callable[[RestorePlan, StoredChain], _Made]
    ) -> tuple[RestorePlan, StoredChain, _Made]:
        """The attempt with what the stores hold between them, then with each alone. Raises Damaged when all of it is bad."""
        copies = self.store.copies
        sources = (self.store, *copies) if len(copies) > 1 else (self.store,)
        for source in sources[:-1]:
            with suppress(Damaged):
                return self.from_one(source, catalogue, plan, attempt)
        return self.from_one(sources[-1], catalogue, plan, attempt)

    def from_one(
        self,
        source: Store,
        catalogue: Catalogue,
        plan: RestorePlan,
        attempt: Callable[[RestorePlan, StoredChain], _Made],
    ) -> tuple[RestorePlan, StoredChain, _Made]:
        with self.timed("open", plan.backup):
            chain = self.open(source, catalogue, plan)
        plan.build.unlink(missing_ok=True)  # What a killed restore left, or a copy that was no good.
        return plan, chain, attempt(plan, chain)

    def open(self, source: Store, catalogue: Catalogue, plan: RestorePlan) -> StoredChain:
        chain = open_chain(source, catalogue, plan.backup, self.keyring)
        if self.keyring.identities and chain.table.manifest.envelope is None:
            raise Damaged(
                "It is not sealed, so anybody who can write to the store may have made it; without an identity it is "
                "restored as it is."
            )
        return chain

    def build(self, plan: RestorePlan, chain: StoredChain) -> Replayed | None:
        facts = chain.table.manifest.facts
        with self.timed("build", plan.backup):
            build.write(chain, plan.build, self.progress)
        replayed = None
        if plan.replay is not None and plan.replay.segments:
            with self.timed("replay", plan.backup):
                replayed = replays.apply(
                    self.store, plan.replay, plan.build, self.keyring, position_of=facts.position_of
                )
        with self.timed("check", plan.backup):
            measured = None if replayed else facts
            findings = self.engine.check(plan.build, measured, deep=False, progress=self.progress)
        if findings:
            raise Damaged(" ".join(findings))
        return replayed

    def stage(self, plan: RestorePlan, chain: StoredChain) -> Difference:
        with self.timed("compare", plan.backup):
            difference = delta.compare(plan.database, chain.table, chain.key, self.progress)
        # What is fetched, and as much again for the evidence.
        self.require_room(plan, 2 * difference.count * chain.table.manifest.unit_bytes)
        with self.timed("fetch", plan.backup):
            delta.stage(chain, difference, plan.build, self.progress)
        return difference

    def require_room(self, plan: RestorePlan, need_bytes: int) -> None:
        disk.require_room(plan.build.parent, need_bytes, f"a restore of {plan.backup}", self.free_bytes)

    def require_opening(self, backup: str, findings: tuple[str, ...]) -> None:
        if findings:
            raise BackupError(
                f"{self.target.path} was restored from {backup} and does not open well: {' '.join(findings)} "
                f"The old files are in {self.target.evidence}."
            )

    @contextmanager
    def withdrawn_on_failure(self, swap: Swap) -> Iterator[None]:
        """Nothing of an exchange that was not begun outlives a failure of the block, Ctrl-C included."""
        try:
            yield
        except BaseException:
            swaps.withdraw(swap, self.earlier)
            raise

    def swap_of(self, plan: RestorePlan) -> Swap:
        return Swap(
            backup=plan.backup,
            database=str(plan.database),
            build=str(plan.build),
            evidence=str(plan.evidence),
            members=tuple(member.name for member in self.engine.members(plan.database)),
            steps=plan.steps,
            in_place=self.target.in_place,
        )

    def result(
        self, plan: RestorePlan, fetched_bytes: int, why_whole: str = "", replayed: Replayed | None = None
    ) -> Restoration:
        return Restoration(
            backup=plan.backup,
            taken=plan.taken,
            database=plan.database,
            rows=plan.rows,
            size_bytes=plan.build_bytes,
            position=plan.position,
            cost=plan.cost,
            refused=plan.refused,
            phases=tuple(self.timed.phases),
            evidence=plan.evidence if plan.evidence.exists() else None,
            fetched_bytes=fetched_bytes,
            in_place=self.target.in_place,
            why_whole=why_whole,
            replayed=replayed,
            log_cost=plan.replay.cost if plan.replay else "",
        )


def _decided(
    store: Store,
    catalogue: Catalogue,
    target: Target,
    known_bad: dict[str, str],
    point: Point | None,
    keyring: Keyring,
) -> RestorePlan:
    replay = None
    if point is not None:
        replay = replays.plan(store, point, keyring=keyring, known_bad=known_bad, found=catalogue)
        target = dataclasses.replace(target, backup=replay.backup)
    decision = plans.decide(catalogue.entries, target, known_bad)
    if isinstance(decision, NoRestore):
        raise NothingToRestore(decision.why)
    return decision if replay is None else plans.with_replay(decision, replay)


def _target(engine: Engine, path: Path, backup: str | None, evidence: Path, in_place: bool) -> Target:
    existing = tuple(member for member in engine.members(path) if member.exists())
    return Target(path=path, existing=existing, backup=backup, evidence=evidence, in_place=in_place)


def _evidence_of(path: Path, clock: Clock) -> Path:
    """A directory that does not exist yet: two restores within one second have evidence of their own."""
    first = path.with_name(f"{path.name}.evidence-{compact(clock.now())}")
    later = (path.with_name(f"{first.name}-{number}") for number in count(2))
    return next(place for place in chain((first,), later) if not place.exists())


def _touched_earlier(path: Path) -> Swap | None:
    """The exchange that was killed after it had begun to move the old files; the evidence it collected is completed."""
    swap = swaps.interrupted(path)
    return swap if swap is not None and swap.touched else None


def _require_closed(engine: Engine, path: Path) -> None:
    holders = engine.holders(path)
    if holders:
        named = ", ".join(str(holder) for holder in holders)
        raise InUse(f"{path} is open in {named}; stop the service before restoring over it. Nothing was changed.")
