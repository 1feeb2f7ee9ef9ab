"""How fast log-ins may be tried: exponentially slower for whoever is wrong, and never slower for somebody else.

Counted are the address and the account, for strangers; and for an account at an address from which it has logged in
before, that pair alone. So whoever tries a thousand passwords from anywhere slows down themselves and every other stranger,
and not the owner. Each HTTP process counts for itself, and forgets when it ends.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from system.errors import RateLimited

FREE = 5
"""Wrong log-ins that cost nothing: people mistype."""
FIRST_S = 1.0
ADDRESS_MOST_S = 900.0
ACCOUNT_MOST_S = 60.0
"""An owner at a new address waits no longer than this for their turn."""
FORGOTTEN_S = 3600.0
KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Charged:
    """Who pays for a wrong log-in, and for how long at most."""

    kind: str
    who: tuple[str, ...]
    most_s: float


def charged(name: str, network: str, *, familiar: bool) -> tuple[Charged, ...]:
    """Who pays for a log-in with that name from there; `familiar` when the account has logged in from there before."""
    if familiar:
        return (Charged("pair", (name, network), ACCOUNT_MOST_S),)
    return (Charged("address", (network,), ADDRESS_MOST_S), Charged("account", (name,), ACCOUNT_MOST_S))


def delay_s(wrong: int, most_s: float) -> float:
    """How long nobody may try again after so many wrong log-ins."""
    return 0.0 if wrong <= FREE else min(most_s, FIRST_S * 2.0 ** min(wrong - FREE - 1, 32))


@dataclass(slots=True)
class _Count:
    """Wrong log-ins of one who pays, the newest among them."""

    wrong: int
    at: float


class Throttle:
    """Counts in memory that is bounded: who was silent longest is forgotten first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, kept: int = KEPT) -> None:
        self._clock = clock
        self._kept = kept
        self._counts: OrderedDict[tuple[str, ...], _Count] = OrderedDict()

    def enter(self, payers: Sequence[Charged]) -> None:
        """A log-in is tried, and counted as a wrong one from now on: a thousand at once are counted before the first is
        looked at. Raises RateLimited, and counts nothing, while one of the payers has to wait."""
        now = self._clock()
        left_s = max(self._left_s(payer, now) for payer in payers)
        if left_s > 0:
            raise RateLimited(
                "log-ins-throttled",
                f"Too many wrong log-ins; try again in {math.ceil(left_s)} s.",
                retry_after_s=math.ceil(left_s),
            )
        for payer in payers:
            count = self._count(payer, now)
            self._counts[_key(payer)] = _Count((count.wrong if count else 0) + 1, now)
            self._counts.move_to_end(_key(payer))
        while len(self._counts) > self._kept:
            self._counts.popitem(last=False)

    def forgive(self, payers: Sequence[Charged]) -> None:
        """The log-in was right, or was never looked at: it is not counted any more."""
        for payer in payers:
            count = self._counts.get(_key(payer))
            if count is not None:
                count.wrong = max(0, count.wrong - 1)

    def __len__(self) -> int:
        return len(self._counts)

    def _left_s(self, payer: Charged, now: float) -> float:
        count = self._count(payer, now)
        return 0.0 if count is None else count.at + delay_s(count.wrong, payer.most_s) - now

    def _count(self, payer: Charged, now: float) -> _Count | None:
        count = self._counts.get(_key(payer))
        return None if count is None or now - count.at > FORGOTTEN_S else count


def _key(payer: Charged) -> tuple[str, ...]:
    return (payer.kind, *payer.who)
