"""Where a database's backups are kept, with the way in and the way out: what the verbs ask, whoever's format it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from backups.format.verification import Verification
from backups.plan import RestorePlan
from backups.postgres.recovery import Goal
from backups.progress import Progress
from backups.restoration import Restoration

Kind = Literal["auto", "full", "incr"]
Boot = Callable[[Path], tuple[str, ...]]


class Kept(Protocol):
    """One backup as its vault shows it. What a vault does not know of it is None."""

    @property
    def id(self) -> str:
        """What it is asked for by."""

    @property
    def sequence(self) -> int | None: ...

    @property
    def kind(self) -> str:
        """`full`, or `incr` for one that builds on another."""

    @property
    def parent(self) -> str | None: ...

    @property
    def state(self) -> str:
        """In a word: `suspect`, `complete`, and what else is known."""

    @property
    def level(self) -> int:
        """The most thorough look that is recorded of it, -1 when none is."""

    @property
    def fault(self) -> str:
        """Why it cannot be used; empty when nothing speaks against it."""

    @property
    def pinned(self) -> bool: ...

    @property
    def expired(self) -> bool: ...

    @property
    def taken(self) -> datetime:
        """Whatever was acknowledged before this instant is in it."""

    @property
    def seconds(self) -> float | None: ...

    @property
    def engine(self) -> str | None: ...

    @property
    def database(self) -> str | None: ...

    @property
    def size_bytes(self) -> int | None: ...

    @property
    def stored_bytes(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made: durable in all of `held`, while `trouble` says which places are away.

    `taken_t` is monotonic: what was acknowledged before it is in the backup. `sealed` is empty, or says how.
    """

    kept: Kept
    taken_t: float
    held: tuple[str, ...]
    trouble: tuple[str, ...] = ()
    sealed: str = ""
    key_proven: bool | None = None
    violations: int = 0
    """Of foreign keys, in the database itself."""


class Vault(Protocol):
    """What holds of every vault. A backup that is listed without a fault was made whole.

    `plan` and `restore` speak of PostgreSQL's clusters; a SQLite database has a restore of its own, page by page.
    """

    @property
    def address(self) -> str:
        """What a person would type to mean it."""

    @property
    def trouble(self) -> tuple[str, ...]:
        """A sentence for each place that is away."""

    @property
    def keeps_records(self) -> bool:
        """Whether what `verify` found is remembered, so that `kept` tells it."""

    def kept(self) -> tuple[Kept, ...]:
        """Every backup there is, oldest first, the suspect ones too. Raises StoreUnusable or StoreError."""

    def staging(self) -> tuple[str, ...]:
        """The ids of backups that are under way, or were given up half-way, as far as the vault shows them."""

    def back_up(self, database: str, *, kind: Kind, demonstration: bool, pace: int | None, progress: Progress) -> Made:
        """A new backup of the running database is in the vault.

        Raises NoParent when `incr` was asked for and there is nothing to build on, NotSeparate when the vault shares the
        database's disk and `demonstration` does not allow it, UsageError for what this vault cannot do; then none is made.
        """

    def verify(self, backup: str | None, *, level: int, boot: Boot | None, progress: Progress) -> Verification:
        """How that backup, or the newest, stands up to a look of that level. A bad one is an answer, not an error.

        Raises NoSuchBackup, and UsageError for a level that this vault does not have.
        """

    def data_directory(self) -> Path:
        """Where the cluster lay that the backups are of. Raises NothingToRestore."""

    def plan(self, data: Path, *, backup: str | None, goal: Goal | None) -> RestorePlan:
        """What `restore` would do now; touches nothing. Raises NothingToRestore."""

    def restore(self, data: Path, *, backup: str | None, goal: Goal | None, progress: Progress) -> Restoration:
        """The cluster is back at `data`, recovered to the goal, looked at and shut down; the old one is kept as evidence.

        Without a goal it is the state of the backup itself. Of bad backups the next older one is used. Raises InUse while a
        server runs there, and NothingToRestore when none leads to the goal: the old directory is then as it was.
        """
