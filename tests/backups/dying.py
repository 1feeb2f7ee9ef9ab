"""A backup or a restore that kills itself with SIGKILL at a named moment. Run as a process of its own.

    python -m tests.backups.dying backup MOMENT DATABASE STORE
    python -m tests.backups.dying restore MOMENT DATABASE STORE

Every moment is reached exactly once; a process that ends without dying was given a moment that never comes.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from backups import swap as swaps
from backups.backup import run_backup
from backups.format.facts import Facts
from backups.progress import Progress, silent
from backups.restore import restore
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore

BACKUP_MOMENTS = (
    "snapshot taken",
    "objects half written",
    "objects written",
    "objects named",
    "manifests half written",
    "manifests written",
    "manifests named",
)
RESTORE_MOMENTS = (
    "built",
    "checked",
    "fenced",
    "kept gym.db",
    "kept gym.db-wal",
    "kept gym.db-shm",
    "exchanged",
    "forgotten",
)


class DyingStore(DirectoryStore):
    """A directory store that dies at one moment of publishing an object."""

    def __init__(self, root: Path, moment: str) -> None:
        super().__init__(root)
        self._moment = moment
        self._kind = ""

    def create(self, name: str, chunks: Iterable[bytes]) -> int:
        self._kind = name.split("/")[0]
        if self._kind == "objects":
            self._at("snapshot taken")
        return super().create(name, self._dying_half_way(chunks))

    def _dying_half_way(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        content = b"".join(chunks)
        yield content[: len(content) // 2]
        self._at(f"{self._kind} half written")
        yield content[len(content) // 2 :]

    def _publish(self, staged: Path, target: Path) -> None:
        self._at(f"{self._kind} written")
        super()._publish(staged, target)
        self._at(f"{self._kind} named")

    def _at(self, moment: str) -> None:
        die_at(self._moment, moment)


class DyingEngine(SqliteEngine):
    """An engine that dies before or after it has checked a build."""

    def __init__(self, moment: str) -> None:
        super().__init__()
        self._moment = moment

    def check(self, copy: Path, facts: Facts | None, *, deep: bool, progress: Progress = silent) -> tuple[str, ...]:
        die_at(self._moment, "built")
        findings = super().check(copy, facts, deep=deep, progress=progress)
        die_at(self._moment, "checked")
        return findings


def die_at(wanted: str, moment: str) -> None:
    if wanted == moment:
        os.kill(os.getpid(), signal.SIGKILL)


def main(verb: str, moment: str, database: str, store: str) -> None:
    if verb == "backup":
        run_backup(SqliteEngine(), database, DyingStore(Path(store), moment), demonstration=True)
        return
    swaps.exchange = functools.partial(swaps.exchange, after_step=functools.partial(die_at, moment))
    fence = functools.partial(die_at, moment, "fenced")
    restore(DyingEngine(moment), DirectoryStore(Path(store)), database, fence=fence)


if __name__ == "__main__":
    main(*sys.argv[1:])
