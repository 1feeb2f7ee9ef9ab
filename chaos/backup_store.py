"""Faults of the backup store: what a restore will reach for is not what was stored."""

from __future__ import annotations

import hashlib
import random
import re
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta

from chaos import damage, durable
from chaos.damage import Damage
from chaos.errors import NothingToBreak, plainly
from chaos.fault import Healing, Injection, Missed, Proof, leased
from chaos.lease import Lease
from chaos.parameters import Count, Seconds, Seed
from chaos.target import Target
from chaos.undo import MOVED, MoveBack, Original, PutBytesBack

_ID = re.compile(r"(?P<began>\d{8}T\d{6}Z)-(?P<sequence>\d+)[a-z0-9-]*")
"""What a backup is named by, wherever in the store: its sequence says what came after what, its time does not."""
_MANIFEST = re.compile(rf"(?P<id>{_ID.pattern})(\.manifest)?\.json")

_FOR_THE_NEXT = "listing"
"""What only the next increment is made from; no restore reads it."""

Bytes = Annotated[Count, Meta(description="How many bytes in a row are changed.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptNewestBackup:
    """Bytes of the newest backup's data are changed in the store, behind the back of whoever wrote them."""

    name: ClassVar[str] = "corrupt-newest-backup"
    summary: ClassVar[str] = "Bytes of a data object of the newest backup in the store are changed."
    healing: ClassVar[Healing] = "by undo"

    count: Bytes = 64
    seconds: Seconds = 600.0
    seed: Seed = 0

    @property
    def leaves(self) -> str:
        return ""

    def plan(self, target: Target) -> tuple[str, ...]:
        backup, objects = newest_backup(target)
        chosen = random.Random(self.seed).choice(objects)
        return (
            f"Change {self.count} bytes of {chosen}, which backup {backup} needs (seed {self.seed}).",
            "Put the original bytes back.",
        )

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        backup, objects = newest_backup(target)
        dice = random.Random(self.seed)
        chosen = dice.choice(objects)
        with plainly(f"reading {chosen}"):
            done = damage.garbage(damage.reader(chosen), chosen.stat().st_size, self.count, dice)
        undo = PutBytesBack(str(chosen), tuple(Original(stroke.offset, stroke.before) for stroke in done.strokes))

        def act(_: Lease) -> Injection:
            return Injection.of(_bite(backup, chosen, done))

        return leased(target, self.name, undo, act=act, seconds=self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteStore:
    """The directory store is gone from its place, backups, log and all."""

    name: ClassVar[str] = "delete-store"
    summary: ClassVar[str] = "The directory store of backups is gone, with everything in it."
    healing: ClassVar[Healing] = "by undo"

    seconds: Seconds = 600.0

    @property
    def leaves(self) -> str:
        return ""

    def plan(self, target: Target) -> tuple[str, ...]:
        return (f"Move {target.existing_store()} out of the way, under {target.leases}.", "Move it back.")

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        store = target.existing_store()
        return leased(
            target,
            self.name,
            MoveBack(str(store)),
            act=lambda lease: Injection.of(_moved(store, lease)),
            seconds=self.seconds,
        )


def _moved(store: Path, lease: Lease) -> Proof | Missed:
    with plainly(f"moving {store} away"):
        objects = sum(path.is_file() for path in store.rglob("*"))
        lease.evidence.mkdir()
        store.rename(lease.evidence / MOVED)
        t_bite = time.monotonic()
        durable.sync_directory(store.parent)
    if store.exists():
        return Missed(f"{store} is there again")
    return Proof(f"{store} leads nowhere any more.", t_bite, {"objects": objects})


def _bite(backup: str, chosen: Path, done: Damage) -> Proof | Missed:
    with plainly(f"damaging {chosen}"):
        before = _digest(chosen)
        damage.apply(done, chosen)
        t_bite = time.monotonic()
        after = _digest(chosen)
    if before == after:
        return Missed(f"{chosen} reads as before")
    details = {
        "backup": backup,
        "object": str(chosen),
        "offsets": done.offsets,
        "sha256": {"before": before, "after": after},
    }
    return Proof(f"An object of backup {backup} has another digest than was stored.", t_bite, details)


def newest_backup(target: Target) -> tuple[str, list[Path]]:
    """The newest backup of the target's store, and its data objects. Raises NothingToBreak when there is none.

    A backup is what has a manifest (`<id>.json` or `<id>.manifest.json`); its data are the other files that bear its id,
    in their name or in that of their directory. What is hidden, what is written about backups later, and what only the
    next backup will need, is none of it.
    """
    store = target.existing_store()
    files = [path for path in sorted(store.rglob("*")) if path.is_file() and not _hidden(path.relative_to(store))]
    ids = [match for path in files if (match := _MANIFEST.fullmatch(path.name))]
    if not ids:
        raise NothingToBreak(f"{store} holds no backup; make one with: gymkhana backup run.")
    newest = max(ids, key=lambda match: (int(match["sequence"]), match["id"]))["id"]
    objects = [path for path in files if path.suffix != ".json" and newest in path.relative_to(store).as_posix()]
    objects = [path for path in objects if path.stat().st_size > 0 and path.name != _FOR_THE_NEXT]
    if not objects:
        raise NothingToBreak(f"Backup {newest} in {store} has no data to damage.")
    return newest, objects


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
