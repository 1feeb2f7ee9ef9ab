"""Putting a database back as it was before a fault, from the evidence that was kept.

    <evidence>/database        the main file: a copy where the file was damaged in place, a hard link where it was unlinked
    <evidence>/database-wal    its log, likewise, if there was one
    <evidence>/damaged         a hard link to the damaged file, so that its inode cannot come back as that of a restored one

Evidence shares its files by hard links with what it puts back, so that putting back twice loses nothing of what was written
in between. The index of the log (-shm) is never kept: SQLite builds it anew from the log.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from chaos import durable, service, sqlite_process
from chaos.errors import ChaosError, NotHealed, NotOurs
from chaos.identity import Identity

MAIN = "database"
DAMAGED = "damaged"
MEMBERS = ("-wal", "")
"""In the order in which they are put back: a main file without its log would be an older database."""


class PutBack(msgspec.Struct, frozen=True, tag_field="undo", tag="put-back"):
    """The database at its path is the one of the evidence, or the one that somebody restored meanwhile.

    Processes of the service that had it open are killed (its supervisor, if it lives, starts them again). What the service
    acknowledged into a file that was damaged in place is not in the evidence.
    """

    database: str
    runtime: str

    def undo(self, evidence: Path) -> None:
        """Raises NotHealed while a restore is at work on the database: then it is tried again later."""
        database = Path(self.database)
        if not evidence.is_dir():
            return  # It is complete before anything is damaged, so nothing was.
        if _under_restore(database):
            raise NotHealed(f"A restore of {database} is at work; the evidence waits in {evidence}.")
        if was_restored(database, evidence):
            return
        with fenced(Path(self.runtime), (evidence / MAIN, evidence / DAMAGED, database)):
            sibling(database, "-shm").unlink(missing_ok=True)
            for member in MEMBERS:
                _place(sibling(evidence / MAIN, member), sibling(database, member))
            durable.sync_directory(database.parent)


def copy_set(database: Path, evidence: Path) -> None:
    """Complete evidence of a database that is about to be damaged in place. Nobody may write to it meanwhile."""
    with _gathered(evidence) as place:
        for member in MEMBERS:
            source = sibling(database, member)
            if source.exists():
                copy = sibling(place / MAIN, member)
                shutil.copy2(source, copy)
                durable.sync_file(copy)
        (place / DAMAGED).hardlink_to(database)


def link_set(database: Path, evidence: Path) -> None:
    """Complete evidence of a database that is about to be unlinked: its very files, under other names."""
    with _gathered(evidence) as place:
        for member in MEMBERS:
            source = sibling(database, member)
            if source.exists():
                sibling(place / MAIN, member).hardlink_to(source)


def was_restored(database: Path, evidence: Path) -> bool:
    """Whether somebody has put a sound database there since: not the damaged one, not the kept one, whole, with tables."""
    known = (evidence / MAIN, evidence / DAMAGED)
    if not database.exists() or any(path.exists() and path.samefile(database) for path in known):
        return False
    look = sqlite_process.check(database)
    return look.sound and look.tables > 0


@contextmanager
def fenced(runtime: Path, files: Iterable[Path]) -> Iterator[None]:
    """For the block, no process of the service has any of these files open, and its supervisor starts none."""
    try:
        living = service.living(runtime)
    except NotOurs:
        living = {}  # What was published has died, and somebody else has the pid.
    supervisor = living.pop(service.SUPERVISOR, None)
    if supervisor is not None and supervisor.signal(signal.SIGSTOP):
        supervisor.wait_until(stopped=True, timeout_s=5.0)
    try:
        wanted = {identity for path in files if (identity := _inode(path))}
        for process in living.values():
            if wanted & _open_inodes(process):
                process.signal(signal.SIGKILL)
                process.wait_until(timeout_s=5.0)
        yield
    finally:
        if supervisor is not None:
            supervisor.signal(signal.SIGCONT)


def sibling(path: Path, suffix: str) -> Path:
    """The file that SQLite keeps beside that one under this suffix; the file itself for an empty suffix."""
    return path.with_name(path.name + suffix)


def _place(kept: Path, path: Path) -> None:
    """`path` leads to the kept file, or to nothing where there was none."""
    if not kept.exists():
        path.unlink(missing_ok=True)
        return
    beside = path.with_name(f"{path.name}.put-back")
    beside.unlink(missing_ok=True)
    beside.hardlink_to(kept)
    beside.replace(path)
    beside.unlink(missing_ok=True)  # where both were one file already, the rename did nothing


@contextmanager
def _gathered(evidence: Path) -> Iterator[Path]:
    """A directory to fill. It gets the name `evidence` when the block succeeds, and not before it is durable."""
    place = evidence.with_suffix(".gathering")
    try:
        place.mkdir()
        yield place
        durable.sync_directory(place)
        place.rename(evidence)
        durable.sync_directory(evidence.parent)
    except OSError as error:
        raise ChaosError(
            f"The originals could not be kept in {evidence.parent}: {error}. It must have room and lie on the "
            "database's file system. Nothing was damaged."
        ) from error


def _under_restore(database: Path) -> bool:
    """Whether a process holds the lock that a restore of this database takes."""
    try:
        descriptor = os.open(database.with_name(f"{database.name}.restore-lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _open_inodes(process: Identity) -> set[tuple[int, int]]:
    """The files that it has open, by device and inode."""
    try:
        descriptors = list(Path(f"/proc/{process.pid}/fd").iterdir())
    except OSError:
        return set()
    return {identity for descriptor in descriptors if (identity := _inode(descriptor))}
