"""One process, for ever: its pid with its start time and the boot it belongs to.

Pids come back, the three together do not. Signals go through a pidfd, which holds on to the process while it is being looked
at, so that no signal ever reaches a stranger.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PAUSE_S = 0.005


@dataclass(frozen=True, slots=True)
class Identity:
    """A process. `start_ticks` is when it started, in clock ticks since the boot named by `boot`."""

    pid: int
    start_ticks: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The process that has this pid now, None when there is none."""
        fields = _fields(pid)
        return None if fields is None else cls(pid, int(fields[19]), boot_id())

    @property
    def state(self) -> str:
        """The kernel's letter for what it does (R, S, D, T, Z...), empty when it is gone."""
        if self.boot != boot_id():
            return ""
        fields = _fields(self.pid)
        return fields[0] if fields is not None and int(fields[19]) == self.start_ticks else ""

    @property
    def alive(self) -> bool:
        """Whether it can still do anything; a zombie cannot."""
        return self.state not in ("", "Z", "X")

    @property
    def stopped(self) -> bool:
        """Whether it is held by SIGSTOP."""
        return self.state == "T"

    @property
    def created_s(self) -> float:
        """When it started, in seconds since the epoch, as psutil's `create_time` has it."""
        return self.start_ticks / os.sysconf("SC_CLK_TCK") + _boot_time_s()

    def signal(self, number: signal.Signals) -> bool:
        """Send it a signal; False when it is gone, in which case nobody got one."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive:
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def wait_until(self, *, stopped: bool = False, timeout_s: float) -> bool:
        """Wait until it is gone, or stopped where that will do; False when neither happened in time."""
        deadline = time.monotonic() + timeout_s
        while self.alive and not (stopped and self.stopped):
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_S)
        return True


@cache
def boot_id() -> str:
    """The kernel's name for this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _boot_time_s() -> float:
    lines = Path("/proc/stat").read_text("ascii").splitlines()
    return float(next(line for line in lines if line.startswith("btime ")).split()[1])


def _fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; the name before them may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
