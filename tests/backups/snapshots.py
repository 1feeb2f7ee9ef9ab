"""A snapshot of a database written to a file, for tests of what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backups.engine import Engine
from backups.format.facts import Facts
from backups.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Taken:
    """What the snapshot said of itself."""

    facts: Facts
    taken_t: float


def take(engine: Engine, database: Path, into: Path, progress: Progress = silent) -> Taken:
    """Write a snapshot of the database to the new file `into`."""
    with engine.snapshot(database, progress) as reading, into.open("xb") as copy:
        for block in reading.blocks():
            copy.write(block)
        return Taken(reading.facts(), reading.taken_t)
