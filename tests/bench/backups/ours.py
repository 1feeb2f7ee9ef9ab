"""Every call from the benchmark into `backups/`, and nothing else: what changes when the engine's calls do.

What the engine cannot do yet raises `NotThere`, and is shown as not measured: a goal that was not tried was not met.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backups.addresses import engine_for, store_at
from backups.backup import run_backup
from backups.restore import restore as restore_backup
from backups.verify import verify as verify_backup

PACE_IS_KEPT = False
"""Whether `full` keeps to a pace; while it does not, the writer is measured beside an unbounded backup."""

VERIFY_IS = "restored and checked deeply: no level 3 yet"
"""What `verify` does, for the reader of the figure."""


class NotThere(Exception):
    """The engine has no such call yet."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One backup: bytes of the database in it, and bytes that it takes in the store."""

    image_bytes: int
    stored_bytes: int


def full(database: Path, store: Path, pace: int | None = None) -> Stored:
    """A full backup into the directory store, at most `pace` bytes a second."""
    del pace
    made = run_backup(engine_for(str(database)), str(database), store_at(str(store), make=True), demonstration=True)
    return Stored(made.size_bytes, made.stored_bytes)


def incremental(database: Path, store: Path) -> Stored:
    """An incremental backup on top of the newest in the store."""
    raise NotThere(f"no incremental backup of {database} to {store}")


def restore(store: Path, database: Path) -> None:
    """The newest backup, built, checked and put in its place."""
    restore_backup(engine_for(str(database)), store_at(str(store)), str(database))


def repair(store: Path, database: Path) -> None:
    """The damaged database made good in its place, by fetching only what differs."""
    raise NotThere(f"no delta restore of {database} from {store}")


def verify(store: Path) -> bool:
    """One pass over the newest backup, level 3: every stored byte read, hashed, decompressed, hashed again."""
    return verify_backup(store_at(str(store))).ok
