"""One domain's circuit breaker: off when its jobs keep failing while the others' succeed, tried again, on when that works.

    on ── half of at least 10 jobs in 5 s failed, and the others' did not ── off ── pause ── trying ── 3 in a row ── on
                                                                              ↑               │ failed
                                                                              └─ twice as long ┘

What fails everywhere is no domain's fault, and turning all of them off would only make the way back longer.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

WINDOW_S = 5.0
FAULTS = 10
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
TRIAL_INTERVAL_S = 0.2
TRIALS = 3


@dataclass(slots=True)
class _Domain:
    told: deque[tuple[float, bool]] = field(default_factory=deque)
    off_until: float | None = None
    pause_s: float = FIRST_PAUSE_S
    next_trial: float = 0.0
    succeeded: int = 0


class Breakers:
    """The breakers of all domains of one process. The clock is the caller's."""

    def __init__(self, domains: Iterable[str]) -> None:
        self._domains = {name: _Domain() for name in domains}

    def off(self) -> list[str]:
        """The domains that are off, those being tried included."""
        return [name for name, one in self._domains.items() if one.off_until is not None]

    def lets_in(self, domain: str, now: float) -> bool:
        """Whether a request of the domain may be tried; while it is off, one now and then after its pause."""
        one = self._domains.get(domain)
        if one is None or one.off_until is None:
            return True
        if now < max(one.off_until, one.next_trial):
            return False
        one.next_trial = now + TRIAL_INTERVAL_S
        return True

    def told(self, domain: str, failed: bool, now: float) -> None:
        """A job of the domain ended. A rule that said no is no failure."""
        one = self._domains.setdefault(domain, _Domain())
        if one.off_until is not None:
            self._tried(one, failed, now)
            return
        one.told.append((now, failed))
        if failed and self._is_its_own(domain, now):
            one.off_until = now + one.pause_s
            one.told.clear()

    def _tried(self, one: _Domain, failed: bool, now: float) -> None:
        assert one.off_until is not None
        if now < one.off_until:  # It had begun before the domain was turned off.
            return
        if failed:
            one.succeeded = 0
            one.pause_s = min(2 * one.pause_s, LONGEST_PAUSE_S)
            one.off_until = now + one.pause_s
            return
        one.succeeded += 1
        if one.succeeded >= TRIALS:
            one.off_until, one.succeeded, one.pause_s = None, 0, FIRST_PAUSE_S

    def _is_its_own(self, domain: str, now: float) -> bool:
        mine: Counter[bool] = Counter()
        others: Counter[bool] = Counter()
        for name, one in self._domains.items():
            while one.told and one.told[0][0] < now - WINDOW_S:
                one.told.popleft()
            (mine if name == domain else others).update(failed for _, failed in one.told)
        if mine[True] < FAULTS or mine[True] < mine[False]:
            return False
        return others[False] > others[True]
