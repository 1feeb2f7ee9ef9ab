"""Undoes what nobody else does: `python -m chaos.watchdog --leases DIR`.

A process of its own, in a session of its own, so that neither Ctrl-C nor the death of the runner reaches it. Ten times a
second it looks at the leases: one that has expired, or whose owner is gone, is undone. It ends when no lease is left.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from chaos import guard
from chaos.errors import AtWork, ChaosError
from chaos.lease import Lease, Leases, undo_side_by_side

LOOK_INTERVAL_S = 0.1
ATTEMPTS = 12
"""How often an undo that fails is tried again, at growing pauses (four minutes in all), before it is left to `heal`."""
LONGEST_PAUSE_S = 60.0


@dataclass(slots=True)
class Watch:
    """The watch over one directory, and what it remembers of undos that failed."""

    leases: Leases
    _failures: dict[Path, int] = field(default_factory=dict)
    _not_before: dict[Path, float] = field(default_factory=dict)

    def keep(self) -> None:
        """Returns when no lease is left, but for those that could not be undone."""
        while paths := self.left():
            now = time.monotonic()
            self._undo([lease for path in paths if (lease := self._due(path, now))])
            time.sleep(LOOK_INTERVAL_S)

    def left(self) -> list[Path]:
        """The leases that this watch still looks after."""
        return [path for path in self.leases.paths() if self._failures.get(path, 0) < ATTEMPTS]

    def _due(self, path: Path, now_t: float) -> Lease | None:
        if now_t < self._not_before.get(path, 0.0):
            return None
        try:
            lease = Lease.read(path)
        except FileNotFoundError:
            return None
        except ChaosError as error:
            self._failed(path, error)
            return None
        return lease if lease.due(now_t) else None

    def _undo(self, due: list[Lease]) -> None:
        for lease, error in undo_side_by_side(due, patience_s=0.0):
            if error is None:
                _log(f"undid {lease.record.what} for process {lease.record.owner.pid}")
            elif not isinstance(error, AtWork):  # what others have in hand is looked at again, as often as it takes
                self._failed(lease.path, error)

    def _failed(self, path: Path, error: ChaosError) -> None:
        _log(str(error))
        count = self._failures[path] = self._failures.get(path, 0) + 1
        self._not_before[path] = time.monotonic() + min(LOOK_INTERVAL_S * 2**count, LONGEST_PAUSE_S)


def watch(leases: Leases, lock: int) -> None:
    """Keep the watch until no lease is left; `lock` is the descriptor that says so."""
    mine: int | None = lock
    watch = Watch(leases)
    while mine is not None:
        watch.keep()
        os.close(mine)
        # Whoever took a lease while the lock was still held relies on this watch: so look once more after letting go.
        mine = guard.acquire(leases.directory) if watch.left() else None


def main() -> int:
    """Returns in the first process once the watch has begun, and in the detached one when it is over."""
    parser = argparse.ArgumentParser(prog="python -m chaos.watchdog", description="Undoes leases that are due.")
    parser.add_argument("--leases", type=Path, required=True, help="The leases directory.")
    directory = parser.parse_args().leases.absolute()
    lock = guard.acquire(directory)
    if lock is None:
        return 0
    os.ftruncate(lock, 0)
    if child := os.fork():
        os.pwrite(lock, f"{child}\n".encode(), 0)  # for people who wonder what holds it
        os._exit(0)
    os.chdir("/")
    watch(Leases(directory), lock)
    return 0


def _log(sentence: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {sentence}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
