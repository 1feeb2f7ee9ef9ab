"""Durable files, and plain sentences for what a disk says no with.

A file is durable when its bytes were synced before it got its name, and the directory that holds the name after.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from backups.errors import NoSpace, StoreError

FreeBytes = Callable[[Path], int]

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def free_bytes(place: Path) -> int:
    """Bytes that this user may still write at `place`, which need not exist yet."""
    status = os.statvfs(nearest_existing(place))
    return status.f_bavail * status.f_frsize


def nearest_existing(place: Path) -> Path:
    """`place`, or the closest directory above it that exists."""
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return place


def require_room(place: Path, need_bytes: int, what: str, free: FreeBytes = free_bytes) -> None:
    """Return when `need_bytes` fit at `place`, else raise NoSpace saying how much is missing, before a byte is written.

    This is a courtesy, not a promise: others write to the same disk, so running full half-way is handled all the same.
    """
    available = free(place)
    if available < need_bytes:
        raise NoSpace(
            f"There is no room for {what}: it needs {need_bytes / 1e6:.1f} MB and {place} has {available / 1e6:.1f} MB "
            "free; free some space there or use another disk. Nothing was written."
        )


@contextmanager
def plainly(what: str) -> Iterator[None]:
    """Turn an OSError of the block into NoSpace or StoreError, saying where. `what` is the work: `writing x to y`."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in _FULL:
            raise NoSpace(
                f"The disk is full, so {what} was given up{where}; what was half written is removed and nothing older "
                "was touched. Free some space and run it again."
            ) from error
        raise StoreError(f"{what[:1].upper()}{what[1:]} failed: {error.strerror or error}{where}.") from error


def sync_directory(path: Path) -> None:
    """Make the names in this directory durable: created, renamed and removed ones."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Everything written to the filesystem that `path` lies on is durable; one call for thousands of files and names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc is None:
            os.sync()
        elif _libc.syncfs(descriptor):
            raise OSError(code := ctypes.get_errno(), os.strerror(code), str(path))
    finally:
        os.close(descriptor)


def make_directories(path: Path) -> None:
    """Make `path` and what is missing above it, each name durable."""
    if path.is_dir():
        return
    make_directories(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def write_durably(path: Path, content: bytes) -> None:
    """Put `content` at `path`, replacing what was there: a reader sees the old file or the new one, never half."""
    beside = path.with_name(f"{path.name}.writing")
    with beside.open("wb") as file:
        file.write(content)
        sync(file)
    beside.replace(path)
    sync_directory(path.parent)


def remove_durably(path: Path) -> None:
    """Remove the file if it is there, and make that durable."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync(file: BinaryIO) -> None:
    """Make the bytes written to an open file durable."""
    file.flush()
    os.fsync(file.fileno())
