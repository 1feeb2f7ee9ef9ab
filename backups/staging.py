"""Scratch directories that vanish with their owner: on leaving the block, or at the next sweep if the owner was killed.

Beside each directory lies a lock file that its owner holds. So "is this left over?" is asked of the kernel, not of a
clock: a directory whose lock can be taken belongs to nobody.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backups import disk, lock
from backups.errors import Locked

_HELD = ".held"


@contextmanager
def directory(root: Path, purpose: str) -> Iterator[Path]:
    """An empty directory below `root`, of one's own, removed with all it holds when the block ends."""
    with disk.plainly(f"staging work in {root}"):
        disk.make_directories(root)
    name = f"{purpose}-{secrets.token_hex(6)}"
    with lock.hold(root / f"{name}{_HELD}", purpose):
        path = root / name
        with disk.plainly(f"staging work in {root}"):
            path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def sweep(root: Path) -> tuple[str, ...]:
    """Remove what dead owners left below `root`, and say which; the living are left alone."""
    if not root.is_dir():
        return ()
    swept = []
    for name in sorted({entry.name.removesuffix(_HELD) for entry in root.iterdir()}):
        try:
            with lock.hold(root / f"{name}{_HELD}", "sweep"):
                shutil.rmtree(root / name, ignore_errors=True)
        except Locked:
            continue
        swept.append(name)
    return tuple(swept)
