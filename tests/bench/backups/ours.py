"""Every call from the benchmark into `backups/`, and nothing else: what changes when the engine's calls do."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from backups.addresses import engine_for, store_at
from backups.backup import run_backup
from backups.format.manifest import Manifest
from backups.restore import restore as restore_backup
from backups.verify import verify as verify_backup


@dataclass(frozen=True, slots=True)
class Stored:
    """One backup: bytes of the database in it, and bytes that it takes in the store."""

    image_bytes: int
    stored_bytes: int


def full(database: Path, store: Path) -> Stored:
    """A full backup into the directory store."""
    engine, there = engine_for(str(database)), store_at(str(store), make=True)
    return _stored(run_backup(engine, str(database), there, kind="full", demonstration=True))


def paced(database: Path, store: Path, mb_s: float) -> None:
    """The same as an operator runs it beside a service: a process of its own, at most so many MB a second."""
    words = ["backup", "run", "--database", str(database), "--store", str(store), "--kind", "full", "--demo"]
    subprocess.run(
        [sys.executable, "-m", "ci.cli", *words, "--pace", f"{mb_s:g}", "--json"], check=True, capture_output=True
    )


def incremental(database: Path, store: Path) -> Stored:
    """An incremental backup on top of the newest in the store."""
    engine, there = engine_for(str(database)), store_at(str(store))
    return _stored(run_backup(engine, str(database), there, kind="incr", demonstration=True))


def restore(store: Path, database: Path) -> None:
    """The newest backup, built, checked and put in its place."""
    restore_backup(engine_for(str(database)), store_at(str(store)), str(database))


def repair(store: Path, database: Path) -> None:
    """The damaged database made good in its place, by fetching only what differs."""
    restore_backup(engine_for(str(database)), store_at(str(store)), str(database), in_place=True)


def verify(store: Path) -> bool:
    """One pass over the newest backup, level 3: every stored byte read, hashed, decompressed, hashed again."""
    return verify_backup(store_at(str(store)), level=3).ok


def _stored(manifest: Manifest) -> Stored:
    return Stored(manifest.size_bytes, manifest.stored_bytes)
