"""Every call from the benchmark into `backups/`, and nothing else: what changes when the engine's calls do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backups.addresses import engine_for, store_at
from backups.backup import Kind, run_backup
from backups.restore import restore as restore_backup
from backups.verify import verify as verify_backup


@dataclass(frozen=True, slots=True)
class Stored:
    """One backup: bytes of the database in it, and bytes that it takes in the store."""

    image_bytes: int
    stored_bytes: int


def full(database: Path, store: Path, pace: int | None = None) -> Stored:
    """A full backup into the directory store, at most `pace` bytes a second."""
    return _backup(database, store, "full", pace)


def incremental(database: Path, store: Path) -> Stored:
    """An incremental backup on top of the newest in the store."""
    return _backup(database, store, "incr", None)


def restore(store: Path, database: Path) -> None:
    """The newest backup, built, checked and put in its place."""
    restore_backup(engine_for(str(database)), store_at(str(store)), str(database))


def repair(store: Path, database: Path) -> None:
    """The damaged database made good in its place, by fetching only what differs."""
    restore_backup(engine_for(str(database)), store_at(str(store)), str(database), in_place=True)


def verify(store: Path) -> bool:
    """One pass over the newest backup, level 3: every stored byte read, hashed, decompressed, hashed again."""
    return verify_backup(store_at(str(store)), level=3).ok


def _backup(database: Path, store: Path, kind: Kind, pace: int | None) -> Stored:
    made = run_backup(
        engine_for(str(database)),
        str(database),
        store_at(str(store), make=True),
        kind=kind,
        pace=pace,
        demonstration=True,
    )
    return Stored(made.size_bytes, made.stored_bytes)
