"""What the backup engine asks of one kind of database; log positions, page formats and processes stay behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backups.facts import Facts
from backups.holders import Holder
from backups.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a snapshot shows: every commit acknowledged before `taken_t` (monotonic seconds) is in it."""

    facts: Facts
    taken_t: float


class Engine(Protocol):
    """What holds of every engine. A database is named by its URL or path; a copy is a file that belongs to the caller.

    The live database is never opened by the calling process, which may have it open through a driver whose locks a
    second `open` and `close` would drop: all reading is done by a process of the engine's own.
    """

    @property
    def kind(self) -> str:
        """The engine's name in manifests and names of backups, `[a-z0-9]+`."""

    def path_of(self, database: str) -> Path:
        """Where that database lives, whether or not it exists. Raises UsageError for one of another kind."""

    def size_bytes(self, database: Path) -> int:
        """Room that a copy needs, at most. Raises NoSuchDatabase when there is nothing there."""

    def snapshot(self, database: Path, into: Path, progress: Progress = silent) -> Snapshot:
        """Write a consistent copy of the running database to the new file `into`, checked by the engine's own means.

        The facts are those of the database itself, read in the same transaction as the copy: a copy that misses something
        differs from them. Raises NoSuchDatabase, NotADatabase, DatabaseDamaged, Busy or NoSpace; `into` is then junk.
        """

    def check(self, copy: Path, facts: Facts, *, deep: bool, progress: Progress = silent) -> tuple[str, ...]:
        """How the copy differs from the facts or is damaged, one sentence each; empty for a faithful, sound copy.

        `deep` adds the slow structural checks. The copy is not changed, and nobody else may have it open.
        """

    def reopen(self, database: Path, facts: Facts) -> tuple[str, ...]:
        """Open a database just put in its place the way a service would, and say what is wrong, briefly checked."""

    def members(self, database: Path) -> tuple[Path, ...]:
        """Every file that can be part of this database on disk, the main one first; they need not exist."""

    def holders(self, database: Path) -> tuple[Holder, ...]:
        """The processes that have any of its files open, even if deleted meanwhile."""
