"""How far a backup, a verification or a restore has come.

Whoever does the work calls `progress(done_bytes, total_bytes, phase)` now and then, always from the thread that was
asked to do the work. `done` never exceeds `total`; a new phase starts again at 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import msgspec


class Progress(Protocol):
    """Told of work done. An exception raised here stops the work, which then cleans up after itself."""

    def __call__(self, done_bytes: int, total_bytes: int, phase: str, /) -> None: ...


def silent(done_bytes: int, total_bytes: int, phase: str, /) -> None:
    """Nobody is watching."""


class Lines:
    """One line now and then, for logs and pipes where a moving bar would be noise.

    The first line comes after `every_s` seconds, so that short work says nothing at all. `told` makes a line of what was
    done, what there is to do, the phase and the seconds since that began.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        told: Callable[[int, int, str, float], str] | None = None,
        every_s: float = 10.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._told = told or line
        self._every_s = every_s
        self._monotonic = monotonic
        self._said_t = monotonic()
        self._phase = ""
        self._phase_t = self._said_t

    def __call__(self, done_bytes: int, total_bytes: int, phase: str, /) -> None:
        now = self._monotonic()
        if phase != self._phase:
            self._phase, self._phase_t = phase, now
        if now - self._said_t >= self._every_s:
            self._said_t = now
            self._write(self._told(done_bytes, total_bytes, phase, now - self._phase_t))


def line(done_bytes: int, total_bytes: int, phase: str, elapsed_s: float) -> str:
    """`build 50% (512.0 of 1024.0 MB) at 51.2 MB/s, 10 s left`; rate and time are left out while nothing tells them."""
    share = f"{phase} {_percent(done_bytes, total_bytes)}% ({done_bytes / 1e6:.1f} of {total_bytes / 1e6:.1f} MB)"
    if elapsed_s <= 0 or not 0 < done_bytes < total_bytes:
        return share
    rate = rate_bytes_s(done_bytes, elapsed_s)
    return f"{share} at {rate / 1e6:.1f} MB/s, {(total_bytes - done_bytes) / rate:.0f} s left"


def record(done_bytes: int, total_bytes: int, phase: str, elapsed_s: float) -> str:
    """The same as a JSON object: `phase`, `done_bytes`, `total_bytes`, `rate_bytes_s`, and `eta_s`, null while unknown."""
    rate = rate_bytes_s(done_bytes, elapsed_s)
    told = {
        "phase": phase,
        "done_bytes": done_bytes,
        "total_bytes": total_bytes,
        "rate_bytes_s": round(rate),
        "eta_s": round((total_bytes - done_bytes) / rate, 1) if rate else None,
    }
    return msgspec.json.encode(told).decode()


def rate_bytes_s(done_bytes: int, elapsed_s: float) -> float:
    """Bytes a second on average since the phase began."""
    return done_bytes / elapsed_s if elapsed_s > 0 else 0.0


def _percent(done_bytes: int, total_bytes: int) -> int:
    return 100 * done_bytes // total_bytes if total_bytes else 0
