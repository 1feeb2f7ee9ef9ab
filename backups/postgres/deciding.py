"""Deciding the restore of a cluster: which backup leads to the goal, what that takes, and every step of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from backups import plan as plans
from backups.clock import parse
from backups.errors import NothingToRestore
from backups.format.chain import images_of
from backups.format.manifest import Manifest
from backups.keeping.catalogue import Catalogue, Entry
from backups.plan import NoRestore, RestorePlan, Target
from backups.postgres.engine import PostgresEngine
from backups.postgres.recovery import Goal


def decided(
    catalogue: Catalogue,
    target: Target,
    goal: Goal | None,
    known_bad: Mapping[str, str],
    passed: Mapping[str, str] | None = None,
) -> RestorePlan:
    """The plan for that target and goal. Raises NothingToRestore.

    `known_bad` are backups that turned out bad, and `passed` those that are good and were found not to lead there.
    """
    entries = [entry for entry in catalogue.entries if _fits(entry)]
    late = {entry.id: why for entry in entries if (why := _too_late(entry, goal))} | dict(passed or {})
    decision = plans.decide(entries, target, {**late, **known_bad})
    if isinstance(decision, NoRestore):
        raise NothingToRestore(decision.why)
    refused = tuple(one for one in decision.refused if one.id not in late or one.id in known_bad)
    replay = "the state of the backup itself" if goal is None else str(goal)
    below = len(decision.chain) - 1
    source = f"{decision.backup} and the {below} it builds on" if below else decision.backup
    native = sum(entry.manifest.native for entry in entries if entry.manifest and entry.id in decision.chain)
    laid = f", {native} increments laid over a whole one by pg_combinebackup" if native else ""
    steps = (
        f"fetch {decision.fetch_bytes} bytes of {source} and unpack them at {decision.build}{laid}",
        f"recover {replay} on a server of its own, promote it, look at it, and shut it down",
        f"make sure that no server runs on {target.path}",
        *((f"keep {target.path} as evidence in {target.evidence}",) if target.path.exists() else ()),
        f"put the build in place of {target.path}; starting the server is yours",
    )
    return replace(decision, refused=refused, steps=steps)


def room_bytes(links: Sequence[Manifest]) -> int:
    """What a build needs at most: the cluster, and beside it the parts that it is put together from, if there are any."""
    last = links[-1]
    return last.size_bytes + (sum(image[-1].image_bytes for image in images_of(links)) if last.native else 0)


def _fits(entry: Entry) -> bool:
    return entry.manifest is None or entry.manifest.engine == PostgresEngine.kind


def _too_late(entry: Entry, goal: Goal | None) -> str:
    """Why that backup does not lead to the goal, empty when it may."""
    manifest = entry.manifest
    if goal is None or manifest is None or manifest.server is None:
        return ""
    if goal.timeline is not None and manifest.server.timeline > goal.timeline:
        return (
            f"It was made on timeline {manifest.server.timeline}, which began after timeline {goal.timeline} was left."
        )
    if goal.setting == "recovery_target_time" and parse(manifest.taken) > datetime.fromisoformat(goal.value):
        return f"It was taken at {manifest.taken}, after {goal.value}."
    if goal.setting == "recovery_target_lsn" and lsn_number(manifest.server.point_lsn) > lsn_number(goal.value):
        return f"It ends at {manifest.server.point_lsn}, after {goal.value}."
    return ""


def lsn_number(lsn: str) -> int:
    """A position of the log as a number that can be compared."""
    high, _, low = lsn.partition("/")
    return int(high, 16) << 32 | int(low, 16)
