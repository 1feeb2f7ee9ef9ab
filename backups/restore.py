"""Restoring: decide, build beside, check, fence, exchange, reopen. Each phase is timed; only the exchange is destructive.

    store --> <db>.restoring --check--> (writers gone) --rename--> <db>        old files --> <db>.evidence-<stamp>/

A backup that turns out bad is refused and the next older one takes its place, with what that costs in the answer. Nothing
is ever written to the store, which may be read-only on the day it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from backups import catalogue as catalogues
from backups import disk, lock
from backups import plan as plans
from backups import swap as swaps
from backups.build import build
from backups.catalogue import Catalogue
from backups.clock import SYSTEM, Clock, compact
from backups.engine import Engine
from backups.errors import BackupError, Damaged, InUse, NothingToRestore, UsageError
from backups.manifest import Manifest
from backups.plan import NoRestore, RestorePlan, Target
from backups.progress import Progress, silent
from backups.restoration import Restoration, Stopwatch
from backups.store import Store
from backups.swap import Swap

Fence = Callable[[], None]
"""Makes sure that nobody writes to the database any more, and returns when that is so."""


def plan_restore(
    engine: Engine, store: Store, database: str, *, backup: str | None = None, clock: Clock = SYSTEM
) -> RestorePlan:
    """What `restore` would do now, as far as the catalogue tells. Touches nothing. Raises NothingToRestore."""
    path = engine.path_of(database)
    evidence = _evidence_of(path, clock)
    return _decided(catalogues.read(store), _target(engine, path, backup, evidence), {})


def restore(
    engine: Engine,
    store: Store,
    database: str,
    *,
    backup: str | None = None,
    fence: Fence | None = None,
    progress: Progress = silent,
    clock: Clock = SYSTEM,
    free_bytes: disk.FreeBytes = disk.free_bytes,
) -> Restoration:
    """Put the database back from that backup, or from the newest good one.

    On return the database at its place is bit for bit the one that was backed up, durable and opened once, no log of the
    old one lies beside it, and its old files are kept as evidence. A database that any process has open is refused (InUse,
    naming them): at once without a `fence`; with one, after it was called, which is when the build is ready.

    Raises NothingToRestore, InUse, NoSpace, Locked or another BackupError: the old files are then where they were, unless
    the exchange itself was interrupted, and running restore again makes that good.
    """
    path = engine.path_of(database)
    if path.is_dir():
        raise UsageError(f"{path} is a directory; name the database file to restore.")
    with disk.plainly(f"the restore of {path}"):
        disk.make_directories(path.parent)
        with lock.hold(path.with_name(f"{path.name}.restore-lock"), f"restore of {path}"):
            if fence is None:
                _require_closed(engine, path)
            earlier = _touched_earlier(path)
            evidence = Path(earlier.evidence) if earlier else _evidence_of(path, clock)
            target = _target(engine, path, backup, evidence)
            work = _Work(engine, store, target, earlier, Stopwatch(clock), progress, free_bytes)
            return work.restore(fence)


@dataclass(frozen=True, slots=True)
class _Work:
    """One restore under way: what it works on, and its steps. `earlier` is an exchange that was killed half-way."""

    engine: Engine
    store: Store
    target: Target
    earlier: Swap | None
    timed: Stopwatch
    progress: Progress
    free_bytes: disk.FreeBytes

    def restore(self, fence: Fence | None) -> Restoration:
        plan, manifest = self.build_best()
        swap = self.swap_of(plan)
        with self.withdrawn_on_failure(swap), self.timed("fence", plan.backup):
            if fence is not None:
                fence()
            _require_closed(self.engine, plan.database)
        with self.timed("swap", plan.backup):
            swaps.exchange(swap)
        with self.timed("reopen", plan.backup):
            self.reopen(manifest)
        return self.result(plan)

    def build_best(self) -> tuple[RestorePlan, Manifest]:
        """Build the newest backup that proves good. Its build lies beside the database, checked and written down."""
        catalogue = catalogues.read(self.store)
        known_bad: dict[str, str] = {}
        while True:
            with self.timed("decide"):
                plan = _decided(catalogue, self.target, known_bad)
                disk.require_room(plan.build.parent, plan.build_bytes, f"a restore of {plan.backup}", self.free_bytes)
            manifest = catalogue.find(plan.backup).manifest
            assert manifest is not None, "a plan is made from a manifest"
            swap = self.swap_of(plan)
            try:
                with self.withdrawn_on_failure(swap):
                    swaps.write_down(self.earlier or swap)
                    self.build(plan, manifest)
            except Damaged as error:
                known_bad[plan.backup] = str(error)
            else:
                return plan, manifest

    def build(self, plan: RestorePlan, manifest: Manifest) -> None:
        plan.build.unlink(missing_ok=True)  # What a killed restore left.
        with self.timed("build", plan.backup):
            build(self.store, manifest, plan.build, self.progress)
        with self.timed("check", plan.backup):
            findings = self.engine.check(plan.build, manifest.facts, deep=False, progress=self.progress)
        if findings:
            raise Damaged(" ".join(findings))

    def reopen(self, manifest: Manifest) -> None:
        findings = self.engine.reopen(self.target.path, manifest.facts)
        if findings:
            raise BackupError(
                f"{self.target.path} was restored from {manifest.id} and does not open well: {' '.join(findings)} "
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
        )

    def result(self, plan: RestorePlan) -> Restoration:
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
        )


def _decided(catalogue: Catalogue, target: Target, known_bad: dict[str, str]) -> RestorePlan:
    decision = plans.decide(catalogue.entries, target, known_bad)
    if isinstance(decision, NoRestore):
        raise NothingToRestore(decision.why)
    return decision


def _target(engine: Engine, path: Path, backup: str | None, evidence: Path) -> Target:
    existing = tuple(member for member in engine.members(path) if member.exists())
    return Target(path=path, existing=existing, backup=backup, evidence=evidence)


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
