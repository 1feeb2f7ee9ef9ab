"""One at a time where there is no flock: a lease object that its holder renews, and that anybody may take once it is stale.

    .lock              the one writer; written with "only if it does not exist" or "only if it is still the one I read"
    .readers/<token>   those who read and must not lose what they read to a deletion

A lease on this very machine is asked of the kernel: it is stale when its process is gone. One of another machine is stale
when it was not renewed for `LEASE_S` seconds by the store's own clock, told by an object written there a moment ago: the
clocks of two machines are never compared. Each taking raises `fence`, so that a holder that slept can be told from who came
after it.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import msgspec

from backups.clock import SYSTEM, rfc3339
from backups.errors import BackupError, Locked, NameTaken, ObjectMissing
from backups.publishing import boot_id

LEASE_S: Final = 30.0
"""A holder that was killed blocks nobody for longer."""
RENEWALS: Final = 3
"""How often a lease is renewed while it lasts, so that two renewals may fail."""

LOCK: Final = ".lock"
READERS: Final = ".readers/"


class Leased(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease object holds: a process on a host, since an instant, for a purpose."""

    pid: int
    started: int
    host: str
    boot: str
    since: str
    purpose: str
    token: str
    fence: int = 1
    renewals: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since} ({self.purpose})"


@dataclass(frozen=True, slots=True)
class Seen:
    """A lease object as the store has it: its bytes, what identifies this very version of it, and when it was written."""

    content: bytes
    version: str
    written: datetime


class Cell(Protocol):
    """The few operations on hidden objects that leases need, each atomic in the store."""

    def look(self, name: str) -> Seen:
        """The object as it is now. Raises ObjectMissing."""

    def put_new(self, name: str, content: bytes) -> Seen:
        """A new object. Raises NameTaken."""

    def replace(self, name: str, content: bytes, version: str) -> Seen:
        """The object in place of that version of it. Raises NameTaken when it has another one by now, or none."""

    def remove(self, name: str) -> None:
        """The object is gone; one that is not there is no error."""

    def names(self, prefix: str) -> tuple[str, ...]:
        """The hidden objects below that prefix."""


@contextmanager
def hold(cell: Cell, address: str, purpose: str, *, alone: bool = False, lease_s: float = LEASE_S) -> Iterator[None]:
    """Hold the store for the block. Raises Locked, naming the holder, when a living one has it.

    `alone` also wants nobody reading. Should the lease be lost meanwhile (this process slept for longer than it lasts, and
    somebody took over), the block's end raises Locked: what it did is to be done again.
    """
    mine = _mine(purpose)
    taken = _take(cell, address, mine, lease_s)
    with _kept(cell, LOCK, taken, lease_s) as lost:
        if alone:
            _require_no_reader(cell, address, lease_s)
        yield
        if lost():
            raise Locked(f"The lock of {address} was lost to somebody else during the {purpose}; run it again.")


@contextmanager
def reading(cell: Cell, purpose: str, *, lease_s: float = LEASE_S) -> Iterator[None]:
    """Be seen reading for the block. A store that cannot be written to needs no such sign, and gets none."""
    mine = _mine(purpose)
    name = f"{READERS}{mine.token}"
    try:
        seen = cell.put_new(name, msgspec.json.encode(mine))
    except BackupError:
        yield
        return
    with _kept(cell, name, (mine, seen), lease_s):
        yield


def _mine(purpose: str) -> Leased:
    return Leased(
        pid=os.getpid(),
        started=_started(os.getpid()) or 0,
        host=socket.gethostname(),
        boot=boot_id(),
        since=rfc3339(SYSTEM.now()),
        purpose=purpose,
        token=secrets.token_hex(8),
    )


def _take(cell: Cell, address: str, mine: Leased, lease_s: float) -> tuple[Leased, Seen]:
    """The lease and its object, new or taken from a holder that is dead."""
    while True:
        with suppress(NameTaken):
            return mine, cell.put_new(LOCK, msgspec.json.encode(mine))
        try:
            seen = cell.look(LOCK)
        except ObjectMissing:
            continue  # Let go of a moment ago.
        holder = _holder(seen)
        if not _stale(cell, seen, holder, lease_s):
            raise Locked(
                f"{address} is in use by {holder or 'another process'}; wait for it to end and run this again."
            )
        successor = msgspec.structs.replace(mine, fence=holder.fence + 1 if holder else 1)
        with suppress(NameTaken):
            return successor, cell.replace(LOCK, msgspec.json.encode(successor), seen.version)


def _require_no_reader(cell: Cell, address: str, lease_s: float) -> None:
    for name in cell.names(READERS):
        try:
            seen = cell.look(name)
        except ObjectMissing:
            continue
        reader = _holder(seen)
        if not _stale(cell, seen, reader, lease_s):
            raise Locked(
                f"{address} is being read by {reader or 'another process'}; wait for it to end, run this again."
            )
        cell.remove(name)


@contextmanager
def _kept(cell: Cell, name: str, taken: tuple[Leased, Seen], lease_s: float) -> Iterator[Callable[[], bool]]:
    """Renew the lease from a thread for the block, then let go of it. What is yielded tells whether it was lost."""
    lease, seen = taken
    ended, lost = threading.Event(), threading.Event()
    version = seen.version

    def renew() -> None:
        nonlocal version
        renewals = 0
        while not ended.wait(lease_s / RENEWALS):
            renewals += 1
            content = msgspec.json.encode(msgspec.structs.replace(lease, renewals=renewals))
            try:
                version = cell.replace(name, content, version).version
            except NameTaken:
                lost.set()
                return
            except BackupError:
                continue  # The store is away for a moment; the next renewal may reach it in time.

    keeper = threading.Thread(target=renew, name="lease", daemon=True)
    keeper.start()
    try:
        yield lost.is_set
    finally:
        ended.set()
        keeper.join()
        if not lost.is_set():
            with suppress(BackupError):
                cell.remove(name)


def _holder(seen: Seen) -> Leased | None:
    try:
        return msgspec.json.decode(seen.content, type=Leased)
    except msgspec.MsgspecError:
        return None


def _stale(cell: Cell, seen: Seen, holder: Leased | None, lease_s: float) -> bool:
    if holder is not None and holder.boot == boot_id() and holder.host == socket.gethostname():
        return _started(holder.pid) != holder.started
    probe = f".probe/{secrets.token_hex(8)}"
    now = cell.put_new(probe, b"what time is it there").written
    cell.remove(probe)
    return (now - seen.written).total_seconds() > lease_s


def _started(pid: int) -> int | None:
    """When the process began, in the kernel's ticks since boot; None when there is none, or a dead one not yet buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
