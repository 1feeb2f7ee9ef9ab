"""What ours is held against: the ways to copy an SQLite database that everybody has, each durable when it returns."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.bench.backups.events import connect

Copy = Callable[[Path, Path], None]


def cp(database: Path, into: Path) -> None:
    """`cp` and fsync. It is no backup of a database in use; it is what the disk allows."""
    subprocess.run(["cp", "--reflink=never", str(database), str(into)], check=True)
    _sync(into)


def online_backup(database: Path, into: Path) -> None:
    """SQLite's online backup in one step, which is what `sqlite3 .backup` does, and fsync."""
    with closing(connect(database)) as source, closing(connect(into)) as target:
        source.backup(target, pages=-1)
    _sync(into)


def vacuum_into(database: Path, into: Path) -> None:
    """VACUUM INTO and fsync: a smaller, rearranged copy."""
    with closing(connect(database)) as source:
        source.execute("VACUUM INTO ?", (str(into),))
    _sync(into)


def _sync(path: Path) -> None:
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
