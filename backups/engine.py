"""What the backup engine asks of one kind of database; log positions, page formats and processes stay behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from backups.format.facts import Facts, TableContent
from backups.format.manifest import ServerState
from backups.progress import Progress, silent
from backups.sqlite.holders import Holder

BLOCKS_GOOD: Final = 20
"""So many blocks are kept for whoever compresses them beside the reading; memory used again is not faulted in again."""


@dataclass(frozen=True, slots=True)
class Base:
    """A backup that a server's own increment can be made on: the state of it, and the server's list of what it sent."""

    backup: str
    state: ServerState
    listing: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """What a server sent: to which state the image comes, how large that is, and the server's own list of it.

    The list is empty where the server makes no increments.
    """

    state: ServerState
    whole_bytes: int
    listing: bytes


class Reading(Protocol):
    """A consistent image of a running database, read once from front to back.

    It is `units` pages of `unit_bytes`; every commit acknowledged before `taken_t` (monotonic seconds) is in it. While it
    lasts the database is read, and its log held back: whoever reads slowly lets the log grow.
    """

    @property
    def unit_bytes(self) -> int: ...

    @property
    def units(self) -> int: ...

    @property
    def taken_t(self) -> float: ...

    def blocks(self) -> Iterator[bytes | memoryview]:
        """The image in order, once, in blocks that are multiples of the unit; each good until `BLOCKS_GOOD` more were taken.

        Raises DatabaseDamaged as soon as the engine's own check has failed, or Busy when the deadline passes.
        """

    @property
    def native(self) -> bool:
        """Whether the image holds no more than what changed since the base that was offered, as the server tells it."""

    @property
    def why_whole(self) -> str:
        """Of a server: why the image is whole and not native, in a sentence or two; empty where there is nothing to say."""

    @property
    def sent(self) -> Sent | None:
        """Of a server: what it sent, once the blocks are read; None where the image itself is the state."""

    def facts(self) -> Facts:
        """The facts, once the blocks are read. Raises DatabaseDamaged when the engine's own check failed."""


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

    def undisturbed(self, database: Path, purpose: str) -> AbstractContextManager[None]:
        """No restore begins under the block, and none was left half done. Raises Locked or HalfRestored."""

    def size_bytes(self, database: Path) -> int:
        """Room that a copy needs, at most. Raises NoSuchDatabase when there is nothing there."""

    def snapshot(
        self, database: Path, progress: Progress = silent, base: Base | None = None
    ) -> AbstractContextManager[Reading]:
        """A consistent image of the running database, with the facts read in the same transaction.

        With a base it is the server's own increment on that where the server can make one, and the reading says whether.
        Raises NoSuchDatabase, NotADatabase, DatabaseDamaged, Busy or NoSpace.
        """

    def check(self, copy: Path, facts: Facts | None, *, deep: bool, progress: Progress = silent) -> tuple[str, ...]:
        """How the copy differs from the facts or is damaged, one sentence each; empty for a faithful, sound copy.

        `deep` adds the slow structural checks. Without facts, as after a replay to a point that nobody measured, it is the
        structure alone. The copy is not changed, and nobody else may have it open.
        """

    def combine(self, images: Sequence[Path], into: Path, progress: Progress = silent) -> bytes:
        """Lays native increments over the whole image that comes first, to the copy `into`; the server's list of that.

        The images belong to the caller, and are as they were. Raises Damaged when they do not fit together, or NoSpace.
        """

    def content(self, copy: Path, progress: Progress = silent) -> dict[str, TableContent]:
        """The digest of every table of a sound copy. Slow, unlike the facts: it reads every row."""

    def reopen(self, database: Path, facts: Facts | None) -> tuple[str, ...]:
        """Open a database just put in its place the way a service would, and say what is wrong, briefly checked."""

    def members(self, database: Path) -> tuple[Path, ...]:
        """Every file that can be part of this database on disk, the main one first; they need not exist."""

    def holders(self, database: Path) -> tuple[Holder, ...]:
        """The processes that have any of its files open, even if deleted meanwhile."""
