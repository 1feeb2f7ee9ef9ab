"""One at a time, by flock: who comes second is told who came first, and a dead holder blocks nobody.

The kernel drops a flock when its holder dies, however it dies, so nothing here waits for a lease to run out. The file's
content (who, where, since when) is for the sentence only; it decides nothing.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from backups.clock import SYSTEM, rfc3339
from backups.errors import BackupError, Locked, StoreError


class Holder(msgspec.Struct, frozen=True):
    """Who is at work: a process on a host, since an instant (RFC 3339), for a purpose."""

    pid: int
    host: str
    since: str
    purpose: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since} ({self.purpose})"


@contextmanager
def hold(path: Path, purpose: str, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path` for the block; it is gone again afterwards.

    Any number may hold it `shared`, and nobody else then. Raises Locked at once, naming a holder, when another process or
    another thread has it in a way that excludes this one.
    """
    descriptor = _acquire(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        holder = Holder(os.getpid(), socket.gethostname(), rfc3339(SYSTEM.now()), purpose)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(holder), 0)
        yield
    finally:
        # Unlinked while still held: whoever opened the old file meanwhile sees in _acquire that it has no name any more.
        if not shared or _last(descriptor):
            with suppress(OSError):  # Its directory may be gone, and then so is it.
                path.unlink(missing_ok=True)
        os.close(descriptor)


def _last(descriptor: int) -> bool:
    """Whether nobody else holds the lock that we hold shared. It is ours alone then; otherwise it is ours no more."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _acquire(path: Path, kind: int) -> int:
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            if _still_named(descriptor, path):
                return descriptor
        except OSError as error:
            refusal = _refusal(path, descriptor, error)
            os.close(descriptor)
            raise refusal from error
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"The lock {path} cannot be taken: {error.strerror}; check who owns that place.") from error


def _still_named(descriptor: int, path: Path) -> bool:
    mine = os.fstat(descriptor)
    try:
        named = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)


def _refusal(path: Path, descriptor: int, error: OSError) -> BackupError:
    if not isinstance(error, BlockingIOError):
        return StoreError(
            f"{path.parent} is on a file system without file locks ({error.strerror}); use another place."
        )
    try:
        holder = str(msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Holder))
    except msgspec.MsgspecError:
        holder = "another process that has only just begun"
    return Locked(f"{path.parent} is in use by {holder}; wait for it to end and run this again.")
