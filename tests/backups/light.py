"""An engine that starts no process, and a chain made with it, so that a test can back up and restore a thousand times."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backups.backup import run_backup
from backups.consolidate import FileReading
from backups.engine import Base, Reading
from backups.format.facts import Facts, TableContent
from backups.format.manifest import Manifest
from backups.keys.keyring import Keyring
from backups.progress import Progress, silent
from backups.sqlite.engine import SqliteEngine
from backups.sqlite.holders import Holder
from backups.stores.directory import DirectoryStore

PAGE = 4096
UNITS = 200
_RUN = 10


class LightEngine(SqliteEngine):
    """Reads a closed file as it lies there. Its checks find nothing: what is tested with it is not the checking."""

    @contextmanager
    def snapshot(
        self,
        database: Path,
        progress: Progress = silent,  # noqa: ARG002
        base: Base | None = None,  # noqa: ARG002
    ) -> Iterator[Reading]:
        units = database.stat().st_size // PAGE
        yield FileReading(database, PAGE, units, time.monotonic(), facts_of(units))

    def check(self, copy: Path, facts: Facts | None, **_: object) -> tuple[str, ...]:
        if facts is None:
            return ()
        assert copy.stat().st_size == facts.page_count * PAGE
        return ()

    def content(self, *_: object) -> dict[str, TableContent]:
        return {}

    def reopen(self, database: Path, facts: Facts | None) -> tuple[str, ...]:
        return self.check(database, facts)

    def holders(self, _: Path) -> tuple[Holder, ...]:
        return ()


def facts_of(units: int) -> Facts:
    return Facts(
        tables={},
        schema_digest="",
        revision=None,
        position=None,
        position_of=None,
        page_size=PAGE,
        page_count=units,
        foreign_key_violations=0,
        engine_version="light",
    )


ENGINE = LightEngine()


@dataclass(frozen=True, slots=True)
class Stand:
    """A file of random pages, its chain of three backups, and what it was at each; the file itself has moved on since."""

    root: Path
    links: tuple[Manifest, ...]
    states: tuple[bytes, ...]
    keyring: Keyring

    @property
    def database(self) -> Path:
        return self.root / "gym.db"

    @property
    def store(self) -> DirectoryStore:
        return DirectoryStore(self.root / "store")


def make_stand(root: Path, keyring: Keyring, units: int = UNITS) -> Stand:
    dice = random.Random(5)
    database, store = root / "gym.db", DirectoryStore(root / "store", make=True)
    content = bytearray(dice.randbytes(units * PAGE))
    links, states = [], []
    for _ in range(3):
        database.write_bytes(content)
        links.append(run_backup(ENGINE, str(database), store, keyring=keyring, demonstration=True))
        states.append(bytes(content))
        for first in dice.sample(range(0, units - _RUN, _RUN), units // _RUN // 3):
            content[first * PAGE : (first + _RUN) * PAGE] = dice.randbytes(_RUN * PAGE)
    database.write_bytes(content)
    return Stand(root, tuple(links), tuple(states), keyring)
