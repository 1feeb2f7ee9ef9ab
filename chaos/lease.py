"""Undo leases: the undo is written down, durably, before a fault acts; whoever finds the lease can heal.

    <leases>/<time>-<pid>-<what>.json       what to undo, for whom, and until when
    <leases>/<time>-<pid>-<what>.evidence/  the originals that the undo needs, if it needs any

A lease is due when its owner is gone, when it has expired, or when the machine has booted since. It ends by being undone or
closed; both may come from several processes at once, and happen once.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from chaos import durable, guard
from chaos.errors import AtWork, ChaosError, NotGuarded, NotHealed, NothingToBreak
from chaos.identity import Identity
from chaos.undo import EndProcess, Undo

PATIENCE_S = 30.0
"""How long to wait for others who have a lease in hand: longer than any undo takes."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease file holds. `expires_t` is in monotonic seconds of the owner's boot; None lasts as long as the owner."""

    format: int = 1
    what: str
    owner: Identity
    expires_t: float | None
    undo: tuple[Undo, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease and the file that holds it."""

    path: Path
    record: Record

    @classmethod
    def read(cls, path: Path) -> Lease:
        """The lease in that file. Raises FileNotFoundError when it has ended, NotHealed when it makes no sense."""
        try:
            return cls(path, msgspec.json.decode(path.read_bytes(), type=Record))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NotHealed(
                f"{path} is not an undo lease ({error}); look at it, undo by hand, then remove it."
            ) from error

    @property
    def evidence(self) -> Path:
        """The directory for originals. Made by whoever needs it, removed with the lease."""
        return self.path.with_suffix(".evidence")

    @property
    def ended(self) -> bool:
        """Whether somebody has undone or closed it."""
        return not self.path.exists()

    @property
    def abandoned(self) -> bool:
        """Whether its owner is gone."""
        return not self.record.owner.alive

    def due(self, now_t: float) -> bool:
        """Whether it is to be undone at that monotonic time."""
        return self.abandoned or (self.record.expires_t is not None and now_t >= self.record.expires_t)

    @contextmanager
    def acting(self) -> Iterator[None]:
        """For the block, nobody undoes the lease. Raises ChaosError when somebody has: then nothing may be done."""
        with self._exclusively(PATIENCE_S) as mine:
            if not mine:
                raise ChaosError(f"{self.record.what} began too late, so nothing was done; try it again.")
            yield

    def renewed(self, seconds: float) -> Lease:
        """The lease, durable, with so long to go from now on. The last thing that is done while acting."""
        record = msgspec.structs.replace(self.record, expires_t=time.monotonic() + seconds)
        durable.write(self.path, msgspec.json.encode(record))
        return Lease(self.path, record)

    def undo(self, patience_s: float = PATIENCE_S) -> None:
        """What the fault did is undone and the lease has ended.

        Raises ChaosError, and stays, when that did not succeed; AtWork when others had it in hand for longer than that.
        """
        with self._exclusively(patience_s) as mine:
            if not mine:
                return
            for instruction in self.record.undo:
                try:
                    instruction.undo(self.evidence)
                except OSError as error:
                    raise NotHealed(f"The undo of {self.record.what} ({self.path}) failed: {error}.") from error
            self._end()

    def close(self) -> None:
        """The lease has ended, and nothing was undone."""
        with self._exclusively(PATIENCE_S) as mine:
            if mine:
                self._end()

    def _end(self) -> None:
        # The file first: evidence without a lease is litter, a lease without its evidence would undo nothing.
        durable.remove(self.path)
        for directory in (self.evidence, partial_of(self.evidence)):
            shutil.rmtree(directory, ignore_errors=True)

    @contextmanager
    def _exclusively(self, patience_s: float) -> Iterator[bool]:
        """True while this process alone deals with the lease, False when it has ended."""
        deadline = time.monotonic() + patience_s
        while (descriptor := self._locked()) is None:
            if time.monotonic() >= deadline:
                raise AtWork(f"{self.record.what} is being played or undone right now ({self.path}); try again later.")
            time.sleep(0.01)
        try:
            yield descriptor >= 0
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _locked(self) -> int | None:
        """A descriptor that holds the lease, -1 when it has ended, None when somebody else holds it."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        return None  # also when it was renewed or ended meanwhile: whoever asks again will see


def partial_of(evidence: Path) -> Path:
    """Where evidence is gathered before it gets its name, which it has only when it is complete."""
    return evidence.with_suffix(".gathering")


@dataclass(frozen=True, slots=True)
class Leases:
    """The leases kept in a directory, which is made when the first is taken."""

    directory: Path

    def take(self, what: str, *undo: Undo, seconds: float | None) -> Lease:
        """A durable lease of this process, with a watchdog at work. Only after this may a fault act.

        It is undone after `seconds`, or when this process ends; None is the latter alone. Raises NotGuarded when that
        cannot be promised.
        """
        owner = Identity.of(os.getpid())
        assert owner is not None
        expires_t = None if seconds is None else time.monotonic() + seconds
        record = Record(what=what, owner=owner, expires_t=expires_t, undo=undo)
        name = f"{time.monotonic_ns():020d}-{os.getpid()}-{re.sub('[^a-z0-9]+', '-', what.lower())}.json"
        lease = Lease(self.directory.absolute() / name, record)
        try:
            lease.path.parent.mkdir(parents=True, exist_ok=True)
            durable.write(lease.path, msgspec.json.encode(record))
        except OSError as error:
            raise NotGuarded(
                f"No undo lease can be kept in {self.directory} ({error}), so nothing was done."
            ) from error
        try:
            guard.ensure(self.directory)
        except BaseException:
            lease.close()
            raise
        return lease

    def end_process(self, pid: int, what: str) -> Lease:
        """From now on that process is ended (SIGTERM, after three seconds SIGKILL) when this one is gone."""
        process = Identity.of(pid)
        if process is None:
            raise NothingToBreak(f"There is no process {pid} ({what}) to guard; it has ended already.")
        return self.take(what, EndProcess((process,)), seconds=None)

    def held(self) -> list[Lease]:
        """Every lease there is, the newest first: what was done last is undone first. Raises NotHealed, as `read`."""
        return [lease for path in self.paths() if (lease := _read(path))]

    def paths(self) -> list[Path]:
        """The files of the leases there are, newest first."""
        return sorted(self.directory.glob("[0-9]*.json"), reverse=True)

    def heal_abandoned(self) -> list[Lease]:
        """What dead owners left is undone; these leases are returned. Raises ChaosError when one could not be."""
        return _undone([lease for lease in self.held() if lease.abandoned])


def heal_all(directory: Path) -> list[Lease]:
    """Every fault that still acts in this leases directory is undone, whoever injected it; returns the leases.

    What a living runner keeps for its own end only (its processes) is left to it. Raises ChaosError when one could not be.
    """
    held = Leases(directory).held()
    return _undone([lease for lease in held if lease.abandoned or lease.record.expires_t is not None])


def undo_side_by_side(leases: list[Lease], patience_s: float) -> list[tuple[Lease, ChaosError | None]]:
    """Undo these leases, with what went wrong with each: faults one after the other, then the processes all at once.

    A process may take three seconds to end, and several must not add up.
    """

    def attempt(lease: Lease) -> ChaosError | None:
        try:
            lease.undo(patience_s)
        except ChaosError as error:
            return error
        return None

    faults = [lease for lease in leases if lease.record.expires_t is not None]
    processes = [lease for lease in leases if lease.record.expires_t is None]
    outcomes = [(lease, attempt(lease)) for lease in faults]
    if processes:
        with ThreadPoolExecutor(len(processes)) as threads:
            outcomes += zip(processes, threads.map(attempt, processes), strict=True)
    return outcomes


def _undone(leases: list[Lease]) -> list[Lease]:
    for _, error in undo_side_by_side(leases, PATIENCE_S):
        if error is not None:
            raise error
    return leases


def _read(path: Path) -> Lease | None:
    try:
        return Lease.read(path)
    except FileNotFoundError:
        return None
