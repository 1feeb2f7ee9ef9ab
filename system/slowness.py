"""A capacity by design, for tests of overload: every visit of a lane waits its turn and takes so many milliseconds.

At its full speed the service cannot be offered four times what it can do by a generator on the same two cores. It exists
as failpoints do: only where `GYM_FAILPOINTS` names a directory, and while `slow-service.json` lies there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from system.failpoints import SLOW_SERVICE, Failpoints

MADE_UP_S = 0.1
"""A visit that was held up for this long at most is made up for."""


class Slowness:
    """One thing at a time, each as long as the armed failpoint says; nothing at all while it is not armed."""

    def __init__(self, failpoints: Failpoints) -> None:
        self._failpoints = failpoints
        self._turn = asyncio.Lock()
        self._free = 0.0

    async def take(self, domain: str, still_wanted: Callable[[], None]) -> None:
        """The visit's time has passed. `still_wanted` is asked when its turn comes, and may raise."""
        if not self._failpoints.hit(SLOW_SERVICE, "", domain):
            return
        async with self._turn:
            still_wanted()
            # By the clock and not by the sleeps, each of which is a little long: the capacity is exact.
            now = time.monotonic()
            self._free = max(self._free, now - MADE_UP_S) + self._failpoints.milliseconds(SLOW_SERVICE) / 1000
            await asyncio.sleep(max(0.0, self._free - now))
