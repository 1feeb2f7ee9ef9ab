"""What all restores of a cluster have in common, whoever builds it: one at a time, the newest good backup, no remains."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from backups import disk, lock
from backups.errors import Damaged, NothingToRestore, UsageError
from backups.plan import Learned, RestorePlan, Target
from backups.postgres.recovery import Goal
from backups.restoration import LogReplayed, Restoration, Stopwatch


@contextlib.contextmanager
def alone_at(data: Path) -> Iterator[str]:
    """Nobody else restores to that directory during the block, which is given the restore's purpose. Raises UsageError."""
    if data.exists() and not data.is_dir():
        raise UsageError(f"{data} is a file; name the data directory to restore.")
    purpose = f"restore of {data}"
    with disk.plainly(f"the {purpose}"):
        disk.make_directories(data.parent)
        with lock.hold(data.with_name(f"{data.name}.restore-lock"), purpose):
            yield purpose


def newest_good(
    target: Target,
    goal: Goal | None,
    decide: Callable[[Learned], RestorePlan],
    attempt: Callable[[RestorePlan], Restoration],
) -> Restoration:
    """The first attempt that ends well; each that does not tells the next decision why. Raises what ends the search."""
    learned = Learned()
    while True:
        plan = decide(learned)
        try:
            return attempt(plan)
        except NothingToRestore as error:
            # Where a restore point lies is known to nobody before the log was read: it may be before this backup.
            if goal is None or not goal.named or target.backup is not None:
                raise
            learned.passed[plan.backup] = str(error)
        except Damaged as error:
            learned.damage(error, plan)


@contextlib.contextmanager
def cleared(*places: Path) -> Iterator[None]:
    """Nothing of a build outlives the block in these places, nor was there before it."""

    def clear() -> None:
        for place in places:
            shutil.rmtree(place, ignore_errors=True)

    clear()
    try:
        yield
    finally:
        clear()


def restoration(
    plan: RestorePlan,
    timed: Stopwatch,
    *,
    rows: int,
    position: int | None,
    fetched_bytes: int,
    replayed: LogReplayed | None,
) -> Restoration:
    """The account of a plan that was carried out."""
    return Restoration(
        backup=plan.backup,
        taken=plan.taken,
        database=plan.database,
        rows=rows,
        size_bytes=plan.build_bytes,
        position=position,
        cost=plan.cost,
        refused=plan.refused,
        phases=tuple(timed.phases),
        evidence=plan.evidence if plan.evidence.exists() else None,
        fetched_bytes=fetched_bytes,
        replayed=replayed,
    )
