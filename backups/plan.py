"""Deciding a restore: which backup, why not a newer one, what that costs, and every step. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from backups.errors import Damaged
from backups.format.manifest import Manifest
from backups.keeping.catalogue import Entry

if TYPE_CHECKING:
    from backups.log.replay import ReplayPlan


@dataclass(frozen=True, slots=True)
class Target:
    """What is wanted: the database put back at `path`, from `backup` or, when that is None, from the newest good one.

    `existing` are the files of the database that lie there now; they are kept in the directory `evidence`. `in_place` wants
    the file there repaired, not exchanged.
    """

    path: Path
    existing: tuple[Path, ...]
    backup: str | None
    evidence: Path
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A backup that would have come first, and why it is not used."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Cost:
    """How far the chosen backup lies behind the newest one, good or bad.

    `positions` counts the application's own steps between the two; None when one of them does not tell its position.
    """

    older_s: float
    positions: int | None

    def __str__(self) -> str:
        if not self.older_s and not self.positions:
            return "nothing newer was passed over"
        steps = "" if self.positions is None else f" and {self.positions} operations"
        return f"{self.older_s:.0f} s{steps} older than the newest backup"


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore will do. Nothing of it has happened yet. `chain` are the backups it reads from, the full one first."""

    backup: str
    chain: tuple[str, ...]
    taken: str
    database: Path
    build: Path
    evidence: Path
    fetch_bytes: int
    build_bytes: int
    rows: int | None
    """None when the backup does not tell."""
    position: int | None
    cost: Cost
    refused: tuple[Refused, ...]
    steps: tuple[str, ...]
    replay: ReplayPlan | None = None
    """What of the shipped log is laid over the backup; None when nothing is."""


@dataclass(frozen=True, slots=True)
class NoRestore:
    """There is nothing to restore from; `why` is one sentence or a few."""

    why: str
    refused: tuple[Refused, ...] = ()


def decide(entries: Sequence[Entry], target: Target, known_bad: Mapping[str, str]) -> RestorePlan | NoRestore:
    """The plan for that target, or the reason there is none.

    `entries` are oldest first; `known_bad` adds what was learned since they were read: backup id to the reason. A backup
    asked for by name is used or refused, never silently replaced by another.
    """
    refused: list[Refused] = []
    for entry in reversed(entries):
        if target.backup not in (None, entry.id):
            continue
        why = known_bad.get(entry.id) or entry.fault
        if entry.manifest is not None and not why:
            return _plan(entry.manifest, entries, target, tuple(refused))
        refused.append(Refused(entry.id, why))
    return NoRestore(why_not(target.backup, refused), tuple(refused))


def with_replay(plan: RestorePlan, replay: ReplayPlan) -> RestorePlan:
    """The plan with that replay in it, after the build."""
    if not replay.segments:
        return replace(plan, replay=replay, refused=replay.refused)
    laid = f"replay {replay.segments} segments of the shipped log over the build, up to {replay.reaches}"
    checked = "check the build: structure"
    steps = (plan.steps[0], laid, checked, *plan.steps[2:])
    return replace(plan, replay=replay, refused=replay.refused, steps=steps, position=replay.position)


def needing(backup: str | None, plan: RestorePlan) -> tuple[str, ...]:
    """The links of the plan's chain that need what turned out damaged in that backup, without trying each of them.

    What the last link still needs of an ancestor, no link in between had stored anew, so they all need it.
    """
    return plan.chain[plan.chain.index(backup) :] if backup in plan.chain else ()


@dataclass(slots=True)
class Learned:
    """What a restore has found out about backups since it read the catalogue: backup id to the reason.

    `bad` ones cannot be used; `passed` ones are good and do not lead where the restore is to end.
    """

    bad: dict[str, str] = field(default_factory=dict)
    passed: dict[str, str] = field(default_factory=dict)

    def damage(self, error: Damaged, plan: RestorePlan) -> None:
        """The plan's backup turned out bad, and so is all of its chain that needs what is damaged."""
        self.bad[plan.backup] = str(error)
        for link in needing(error.backup, plan):
            self.bad.setdefault(link, f"It builds on what {plan.backup} builds on: {error}")


def why_not(backup: str | None, refused: Sequence[Refused]) -> str:
    """Why there is nothing to restore from: that backup, or any when it is None."""
    if backup and refused:
        return f"Backup {backup} cannot be used: {refused[0].why} Leave --backup out to fall back to the best one."
    if backup:
        return f"There is no backup {backup}; list them with: gymkhana backup list."
    if not refused:
        return "The store holds no backup, so there is nothing to restore."
    reasons = " ".join(f"{one.id}: {one.why}" for one in refused)
    return f"None of the {len(refused)} backups can be used. {reasons}"


def _plan(manifest: Manifest, entries: Sequence[Entry], target: Target, refused: tuple[Refused, ...]) -> RestorePlan:
    chain = _chain(manifest, entries)
    build = target.path.with_name(f"{target.path.name}.restoring")
    return RestorePlan(
        backup=manifest.id,
        chain=tuple(link.id for link in chain),
        taken=manifest.taken,
        database=target.path,
        build=build,
        evidence=target.evidence,
        fetch_bytes=sum(link.stored_bytes for link in chain),
        build_bytes=manifest.size_bytes,
        rows=manifest.facts.rows,
        position=manifest.facts.position,
        cost=_cost(manifest, entries[-1]),
        refused=refused,
        steps=_steps(chain, target, build),
    )


def _cost(manifest: Manifest, newest: Entry) -> Cost:
    chosen = Entry(manifest.id, manifest.sequence, manifest=manifest)
    # The wall clock may have been set back between the two; a negative age would say nothing true.
    older_s = max(0.0, (newest.taken - chosen.taken).total_seconds())
    ahead = newest.manifest.facts.position if newest.manifest else None
    here = manifest.facts.position
    return Cost(older_s, None if ahead is None or here is None else ahead - here)


def _chain(manifest: Manifest, entries: Sequence[Entry]) -> list[Manifest]:
    """The backup and those it builds on, the full one first; an entry without a fault has them all."""
    known = {entry.id: entry.manifest for entry in entries if entry.manifest}
    chain = [manifest]
    while chain[0].parent is not None:
        chain.insert(0, known[chain[0].parent])
    return chain


def _steps(chain: list[Manifest], target: Target, build: Path) -> tuple[str, ...]:
    backup, fetch_bytes = chain[-1], sum(link.stored_bytes for link in chain)
    source = backup.id if len(chain) == 1 else f"{backup.id} and the {len(chain) - 1} it builds on"
    closed = f"make sure that no process has {target.path} open"
    if target.in_place:
        return (
            closed,
            f"compare {target.path} with the {backup.units} pages of {backup.id}",
            f"fetch those that differ, at most {fetch_bytes} bytes of {source}, and check each",
            f"keep what will be overwritten, and the logs, as evidence in {target.evidence}",
            f"overwrite those pages in {target.path}",
            "check the hash of every page, then structure and rows against the manifest",
            "open it and check it once more",
        )
    kept = ", ".join(path.name for path in target.existing)
    return (
        f"fetch {fetch_bytes} bytes of {source} and build {backup.size_bytes} bytes at {build}",
        "check the build: hash of every page, structure, foreign keys and rows of every table against the manifest",
        closed,
        *((f"keep {kept} as evidence in {target.evidence}",) if kept else ()),
        f"put the build in place of {target.path} in one step",
        "open it and check it once more",
    )
