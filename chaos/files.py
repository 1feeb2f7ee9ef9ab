"""Faults of the database's files: damaged in place, their log damaged, or unlinked under the service that uses them.

Before anything is touched, the originals are kept as evidence under an undo lease (see `put_back.py`). A block that is left
normally leaves the damage to a restore, unless `put_back` asks for the originals; one that fails, or whose runner dies, or
that outlasts its time while nobody restored, gets them back.

Damage is written from this process with plain system calls, while the writer stands still. So this process must not have the
database open with SQLite; what SQLite says of it is asked in another one.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from chaos import damage, durable, put_back, service, sqlite_format, sqlite_process
from chaos.damage import Damage
from chaos.errors import NothingToBreak, plainly
from chaos.fault import Healing, Injection, Missed, Proof, leased
from chaos.lease import Lease
from chaos.parameters import Count, PutItBack, Seconds, Seed
from chaos.process import killed, writer_held_still
from chaos.put_back import PutBack
from chaos.sqlite_format import Log
from chaos.target import Target

ROUNDS = 6
"""How often damage that the check does not see is followed by twice as much."""
STILL_S = 20.0
"""How long the writer may stand still while evidence is taken and damage is done."""
FILES = ("", "-wal", "-shm")

KeptSeconds = Annotated[Seconds, Meta(description="How long it may stay broken before a watchdog puts it back.")]
Mode = Annotated[Literal["bit-flips", "zero-page", "truncate"], Meta(description="What happens to the file.")]
LogMode = Annotated[Literal["bit-flips", "truncate"], Meta(description="What happens to the log.")]
Places = Annotated[
    Count, Meta(description="Bits flipped, pages zeroed, or pages cut off; more if that is not noticed.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptDatabase:
    """Pages of the live database are damaged: pages that hold something, and that the log does not mask."""

    name: ClassVar[str] = "corrupt-database"
    summary: ClassVar[str] = "Pages of the live database file are damaged (bits flipped, zeroed, or cut off)."
    healing: ClassVar[Healing] = "by restoring"

    mode: Mode = "bit-flips"
    count: Places = 8
    seconds: KeptSeconds = 300.0
    put_back: PutItBack = False
    seed: Seed = 0

    @property
    def leaves(self) -> str:
        return "" if self.put_back else "The database is damaged; restore it from a backup."

    def plan(self, target: Target) -> tuple[str, ...]:
        return (
            f"Stop the writer of {target.existing_database()} for a moment and keep a copy of the database.",
            f"Damage {target.database} in at least {self.count} places ({self.mode}, seed {self.seed}).",
            *_after(self.put_back, self.leaves),
        )

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        database = target.existing_database()
        return _kept(target, self, act=lambda lease: self._bite(target, database, lease))

    def _bite(self, target: Target, database: Path, lease: Lease) -> Proof | Missed:
        sqlite_process.empty_log(database)  # so that little is masked; a log that others keep full is worked around
        dice = random.Random(self.seed)
        for round_ in range(ROUNDS):
            with writer_held_still(target, STILL_S), plainly(f"damaging {database}"):
                if round_ == 0:
                    put_back.copy_set(database, lease.evidence)
                done = self._decide(database, self.count << round_, dice)
                damage.apply(done, database)
                t_bite = time.monotonic()
                differs = damage.happened(done, database)
            look = sqlite_process.check(database)
            if done.offsets and differs and not look.sound:
                details = {
                    "mode": self.mode,
                    "offsets": done.offsets[:20],
                    "places": len(done.offsets),
                    "rounds": round_ + 1,
                    "findings": look.findings[:3],
                }
                return Proof(f"SQLite finds the database damaged: {look.findings[0]}", t_bite, details)
        return Missed("SQLite still finds the database sound: the log masks the damage, or no page was worth damaging")

    def _decide(self, database: Path, count: int, dice: random.Random) -> Damage:
        pages = sqlite_format.read_pages(database)
        log = sqlite_format.read_log(put_back.sibling(database, "-wal"))
        if self.mode == "truncate":
            left = max(pages.count - count, 1)  # an empty file would be a sound, empty database
            return Damage(size_bytes=left * pages.size_bytes) if left < pages.count else Damage()
        masked = frozenset(log.frames) if log else frozenset()
        end = (log and log.page_count) or pages.count
        worth = [page for page in pages.used if page not in masked and page <= end]
        spans = [((page - 1) * pages.size_bytes, pages.size_bytes) for page in worth]
        if not spans:
            return Damage()
        choose = damage.zeros if self.mode == "zero-page" else damage.bit_flips
        return choose(damage.reader(database), spans, count, dice)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptWal:
    """The log loses its end. The service is killed first: a living one knows its log by heart and would not look."""

    name: ClassVar[str] = "corrupt-wal"
    summary: ClassVar[str] = "The service is killed and its write-ahead log damaged, so that committed writes are lost."
    healing: ClassVar[Healing] = "by restoring"

    mode: LogMode = "bit-flips"
    seconds: KeptSeconds = 300.0
    put_back: PutItBack = False
    seed: Seed = 0

    @property
    def leaves(self) -> str:
        if self.put_back:
            return "The service is down; start it again."
        return "The service is down and committed writes are lost; restore the database from a backup."

    def plan(self, target: Target) -> tuple[str, ...]:
        log = _log_of(target)
        kills = tuple(
            f"SIGKILL to the {name}, process {one.pid}." for name, one in service.living(target.runtime).items()
        )
        keep = f"Keep a copy of {target.database} and its log."
        return (*kills, keep, f"Damage {log} ({self.mode}, seed {self.seed}).", *_after(self.put_back, self.leaves))

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        log = _log_of(target)
        return _kept(target, self, act=lambda lease: self._bite(target, log, lease))

    def _bite(self, target: Target, log: Path, lease: Lease) -> Proof | Missed:
        processes = service.living(target.runtime)
        death = killed(processes) if processes else None
        if isinstance(death, Missed):
            return death
        with plainly(f"damaging {log}"):
            put_back.copy_set(target.database, lease.evidence)
            before = _accepted(target.database, lease.evidence)
            layout = sqlite_format.read_log(log)
            if layout is None or before == 0:
                return Missed("the log held nothing that SQLite would still read")
            damage.apply(self._decide(log, layout, before), log)
            t_bite = death.t_bite if death else time.monotonic()
            after = _accepted(target.database, lease.evidence)
        if after >= before:
            return Missed(f"SQLite still accepts all {before} frames of the log")
        details = {
            "mode": self.mode,
            "frames_before": before,
            "frames_after": after,
            **(death.details if death else {}),
        }
        return Proof(f"SQLite accepts {after} of {before} frames of the log.", t_bite, details)

    def _decide(self, log: Path, layout: Log, accepted: int) -> Damage:
        dice = random.Random(self.seed)
        begin = layout.offset(dice.randrange(accepted))
        if self.mode == "truncate":
            return Damage(size_bytes=begin)
        return damage.bit_flips(damage.reader(log), [(begin, layout.frame_bytes)], 1, dice)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteDatabase:
    """The files are unlinked; who has them open goes on using what nobody else can find."""

    name: ClassVar[str] = "delete-database"
    summary: ClassVar[str] = "The database file, its log and its index are unlinked while the service uses them."
    healing: ClassVar[Healing] = "by restoring"

    seconds: KeptSeconds = 300.0
    put_back: PutItBack = False

    @property
    def leaves(self) -> str:
        return "" if self.put_back else "The database is gone; restore it from a backup."

    def plan(self, target: Target) -> tuple[str, ...]:
        database = target.existing_database()
        there = [path for suffix in FILES if (path := put_back.sibling(database, suffix)).exists()]
        return (
            f"Keep hard links to the files of {database} under {target.leases}.",
            *(f"Unlink {path}." for path in there),
            *_after(self.put_back, self.leaves),
        )

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        database = target.existing_database()
        return _kept(target, self, act=lambda lease: _unlinked(database, lease))


def _unlinked(database: Path, lease: Lease) -> Proof | Missed:
    put_back.link_set(database, lease.evidence)
    kept = lease.evidence / put_back.MAIN
    with plainly(f"unlinking {database}"):
        for suffix in FILES:
            put_back.sibling(database, suffix).unlink(missing_ok=True)
        t_bite = time.monotonic()
        durable.sync_directory(database.parent)
    if database.exists() and database.samefile(kept):
        return Missed(f"{database} is still there")
    return Proof(f"{database} leads nowhere any more.", t_bite, {"inode": kept.stat().st_ino})


def _kept(
    target: Target, fault: CorruptDatabase | CorruptWal | DeleteDatabase, act: Callable[[Lease], Proof | Missed]
) -> AbstractContextManager[Injection]:
    return leased(
        target,
        fault.name,
        PutBack(database=str(target.database), runtime=str(target.runtime)),
        act=lambda lease: Injection.of(act(lease)),
        seconds=fault.seconds,
        leave=not fault.put_back,
    )


def _after(put_back: bool, leaves: str) -> tuple[str, ...]:
    return (*(("Put the original files back.",) if put_back else ()), *((leaves,) if leaves else ()))


def _log_of(target: Target) -> Path:
    log = put_back.sibling(target.existing_database(), "-wal")
    if not log.exists() or log.stat().st_size == 0:
        raise NothingToBreak(f"{target.database} has no write-ahead log now; let the service write first.")
    return log


def _accepted(database: Path, evidence: Path) -> int:
    """How many frames of the log SQLite would read now, asked of a copy that is gone again afterwards."""
    place = evidence / "look"
    place.mkdir()
    try:
        for suffix in ("", "-wal"):
            shutil.copyfile(put_back.sibling(database, suffix), put_back.sibling(place / put_back.MAIN, suffix))
        return sqlite_process.frames_accepted(place / put_back.MAIN)
    finally:
        shutil.rmtree(place)
