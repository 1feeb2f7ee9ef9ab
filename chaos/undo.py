"""Undo as data: what a lease says must be done to heal, and how each kind is done.

Every kind can be undone again and again with the same end, by the runner, by the watchdog or by the next start, and none
needs anything that is not written in it. `evidence` is the lease's own directory, where originals are kept.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from chaos import durable
from chaos.errors import NotHealed
from chaos.identity import Identity
from chaos.put_back import PutBack

MOVED = "moved"
"""What a directory is called while it lies in the evidence."""

TERM_S = 3.0
"""How long a process may take to end by itself."""
KILL_S = 5.0


class Continue(msgspec.Struct, frozen=True, tag_field="undo", tag="sigcont"):
    """Processes that were stopped run again."""

    processes: tuple[Identity, ...]

    def undo(self, evidence: Path) -> None:  # noqa: ARG002
        for process in reversed(self.processes):
            process.signal(signal.SIGCONT)


class Kill(msgspec.Struct, frozen=True, tag_field="undo", tag="kill"):
    """Processes are gone, at once."""

    processes: tuple[Identity, ...]

    def undo(self, evidence: Path) -> None:  # noqa: ARG002
        kill(self.processes)


class EndProcess(msgspec.Struct, frozen=True, tag_field="undo", tag="end-process"):
    """Processes are gone; each is asked first (SIGTERM) and has three seconds to end by itself."""

    processes: tuple[Identity, ...]

    def undo(self, evidence: Path) -> None:  # noqa: ARG002
        for process in self.processes:
            process.signal(signal.SIGTERM)
            process.signal(signal.SIGCONT)  # a stopped one would never hear it
        deadline = time.monotonic() + TERM_S
        for process in self.processes:
            process.wait_until(timeout_s=max(deadline - time.monotonic(), 0.0))
        kill(self.processes)


class RemoveFile(msgspec.Struct, frozen=True, tag_field="undo", tag="remove-file"):
    """A file is gone."""

    path: str

    def undo(self, evidence: Path) -> None:  # noqa: ARG002
        Path(self.path).unlink(missing_ok=True)


class Original(msgspec.Struct, frozen=True):
    """Bytes as they were, and where."""

    offset: int
    content: bytes


class PutBytesBack(msgspec.Struct, frozen=True, tag_field="undo", tag="put-bytes-back"):
    """A file has its original bytes again. One that was deleted since stays deleted."""

    path: str
    originals: tuple[Original, ...]

    def undo(self, evidence: Path) -> None:  # noqa: ARG002
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            for original in self.originals:
                os.pwrite(descriptor, original.content, original.offset)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class MoveBack(msgspec.Struct, frozen=True, tag_field="undo", tag="move-back"):
    """A directory that was moved into the evidence is at its place again; what was made there meanwhile lies beside it."""

    path: str

    def undo(self, evidence: Path) -> None:
        kept, place = evidence / MOVED, Path(self.path)
        if not kept.is_dir():
            return
        if place.exists():
            place.rename(place.with_name(f"{place.name}.made-meanwhile-{time.time_ns()}"))
        place.parent.mkdir(parents=True, exist_ok=True)
        kept.rename(place)
        durable.sync_directory(place.parent)


Undo = Continue | Kill | EndProcess | RemoveFile | PutBytesBack | PutBack | MoveBack


def kill(processes: Iterable[Identity]) -> None:
    """All of them are gone on return; those that were, stay so. Raises NotHealed when one does not die."""
    processes = tuple(processes)
    for process in processes:
        process.signal(signal.SIGKILL)
    for process in processes:
        if not process.wait_until(timeout_s=KILL_S):
            raise NotHealed(f"Process {process.pid} is still there after SIGKILL; look at what it waits for.")
