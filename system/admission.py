"""The door: who goes in now, who waits before it, and who is refused before any work is done, by measured waiting.

    request ── enter ── inside, as many as the limit says ── lane: waited how long for its turn? ── leave
                 │                                             └── moves the limit
                 └── waiting, per domain; refused when too many, or for too long

Inside, each lane has a limit that follows what its jobs waited (additive up, multiplicative down): when even the shortest
wait of an interval is long, a queue stands in the lane, and it belongs out here, where it can be refused. It is CoDel's
test (RFC 8289), because a burst makes the longest wait long, and only a queue that stands makes the shortest so. But it
never falls below what the lane gets done in a fifth of a second (Little's law): on a busy machine everybody waits for
processes to wake up, however few they are, and a limit that follows such waits down starves an idle service.

Outside, patience is long while the queue empties now and then, and short once it has stood for a while; then the newest
goes in first. First come, first served would serve everybody just before they give up. Both are Facebook's (Maurer, Fail
at Scale, 2015). A place count bounds all of it, and no domain may hold more than half of anything.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from system import metrics
from system.errors import Unavailable

Lane = Literal["read", "write"]
Clock = Callable[[], float]

LEAST, FIRST, MOST = 16, 128, 512
"""Requests inside one lane: at least, at first, and at most."""
TARGET_S = 0.05
"""A wait in the lane longer than this, on top of twice what the job itself takes, is a queue's."""
INTERVAL_S = 0.1
ALLOWED_S = 0.2
"""As many are always let in as the lane gets done in this time."""
SHRINK = 0.7
GROW = 1 / 8
PATIENCE_S = 1.0
STANDS_S = 0.5
"""A queue before the door that has not been empty for this long stands."""
SHORT_PATIENCE_S = 0.25
LONGEST_RETRY_S = 8


class Limit:
    """How many may be inside a lane, by what those inside waited for their turn."""

    def __init__(self, least: int = LEAST, first: int = FIRST, most: int = MOST) -> None:
        self._least, self._most = least, most
        self.value = first
        self._shortest = math.inf
        self._end = self._began = -math.inf
        self._done = 0
        self._per_second = 0.0
        self._reached = False

    def waited(self, waited_s: float, took_s: float, now: float) -> None:
        """A job waited so long and then took so long. Once an interval the limit moves, if it was the limit that counted.

        What a job takes is a wait that no limit can spare the next: a write waits for the commit before its own.
        """
        if now >= self._end:
            self._measure(now - self._began)
            self._move()
            self._began, self._end = now, now + INTERVAL_S
        self._done += 1
        self._shortest = min(self._shortest, waited_s - 2 * took_s)

    def reached(self) -> None:
        """Somebody had to wait outside."""
        self._reached = True

    def _measure(self, since_s: float) -> None:
        if math.isfinite(since_s):
            self._per_second += (self._done / since_s - self._per_second) / 4
        self._done = 0

    def _move(self) -> None:
        if math.isfinite(self._shortest) and self._shortest > TARGET_S:
            flow = math.ceil(self._per_second * ALLOWED_S)
            self.value = min(self._most, max(self._least, flow, int(self.value * SHRINK)))
        elif math.isfinite(self._shortest) and self._reached:
            self.value = min(self._most, self.value + max(1, int(self.value * GROW)))
        self._shortest = math.inf
        self._reached = False


@dataclass(eq=False, slots=True)
class _Waiting:
    """Somebody before the door."""

    since: float
    called: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Gate:
    """The way into one lane. `enter` returns once the caller is inside and then `leave` must follow; or it raises."""

    def __init__(self, lane: Lane, limit: Limit, clock: Clock, refusal: Callable[[str, str], Unavailable]) -> None:
        self.limit = limit
        self._lane = lane
        self._clock = clock
        self._refusal = refusal
        self._inside: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        self._emptied = -math.inf
        self._shown = metrics.ADMISSION_LIMIT.labels(lane)
        self._seconds = metrics.QUEUE_SECONDS.labels(lane, "door")

    def patience_s(self) -> float:
        """How long anybody may wait now."""
        stands = any(self._queues.values()) and self._clock() - self._emptied > STANDS_S
        return SHORT_PATIENCE_S if stands else PATIENCE_S

    async def enter(self, domain: str) -> None:
        """Inside, as soon as there is room. Raises Unavailable when that takes longer than anybody may wait."""
        now = self._clock()
        if not any(self._queues.values()):
            self._emptied = now
        if self._has_room(domain) and not self._queues.get(domain):
            self._inside[domain] += 1
            return
        self.limit.reached()
        waiting = _Waiting(now)
        self._queues.setdefault(domain, deque()).append(waiting)
        self.turn()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await waiting.called
        except BaseException as error:
            self._give_up(domain, waiting)
            if isinstance(error, TimeoutError):
                raise self._refusal(domain, "queue-too-long") from None
            raise
        self._seconds.observe(self._clock() - now)

    def leave(self, domain: str) -> None:
        """One less inside; whoever is next comes in."""
        self._inside[domain] -= 1
        self.turn()

    def waited(self, waited_s: float, took_s: float) -> None:
        """A job of the lane waited so long for its turn, and took so long."""
        self.limit.waited(waited_s, took_s, self._clock())
        self._shown.set(self.limit.value)

    def turn(self) -> None:
        """Refuses those who have waited too long, and calls in as many as there is room for, domain by domain."""
        now, patience_s = self._clock(), self.patience_s()
        for domain, queue in self._queues.items():
            while queue and now - queue[0].since > patience_s:
                _answer(queue.popleft(), self._refusal(domain, "queue-too-long"))
        while (first := self._next()) is not None:
            queue = self._queues[first]
            self._queues.move_to_end(first)
            waiting = queue.pop() if patience_s == SHORT_PATIENCE_S else queue.popleft()
            if not waiting.called.done():
                self._inside[first] += 1
                waiting.called.set_result(None)
        if not any(self._queues.values()):
            self._emptied = now

    def _give_up(self, domain: str, waiting: _Waiting) -> None:
        if waiting in self._queues[domain]:
            self._queues[domain].remove(waiting)
        elif waiting.called.done() and not waiting.called.cancelled() and waiting.called.exception() is None:
            self.leave(domain)  # It was called in and gave up in the same moment.

    def _next(self) -> str | None:
        return next((domain for domain, queue in self._queues.items() if queue and self._has_room(domain)), None)

    def _has_room(self, domain: str) -> bool:
        if self._inside.total() >= self.limit.value:
            return False
        return self._inside[domain] < max(1, self.limit.value // 2)


class Door:
    """The gates of both lanes, and the places of everybody inside and before them."""

    def __init__(self, places: int, clock: Clock = time.monotonic, dice: random.Random | None = None) -> None:
        self._places = places
        self._held: Counter[str] = Counter()
        self._clock = clock
        self._dice = dice or random.Random()
        self._offered = self._refused = 0
        self._pressure = 1.0
        self._counted = clock()
        self._gates: dict[Lane, Gate] = {lane: Gate(lane, Limit(), clock, self._refusal) for lane in ("read", "write")}

    async def enter(self, lane: Lane, domain: str) -> None:
        """Inside; `leave` must follow. Raises Unavailable, and nothing was done for the request."""
        self._count()
        if self._held.total() >= self._places:
            raise self._refusal(domain, "service-full")
        if self._held[domain] >= max(1, self._places // 2):
            raise self._refusal(domain, "domain-full")
        self._held[domain] += 1
        try:
            await self._gates[lane].enter(domain)
        except BaseException:
            self._held[domain] -= 1
            raise

    def leave(self, lane: Lane, domain: str) -> None:
        """The request is answered."""
        self._held[domain] -= 1
        self._gates[lane].leave(domain)

    def waited(self, lane: Lane, waited_s: float, took_s: float) -> None:
        """A job of that lane waited so long for its turn, and then took so long."""
        self._gates[lane].waited(waited_s, took_s)

    def patience_s(self, lane: Lane) -> float:
        """How long a job may have waited for its turn before it is refused undone."""
        return self._gates[lane].patience_s()

    def _count(self) -> None:
        now = self._clock()
        if now - self._counted >= 1.0:
            self._pressure = pressure(self._offered, self._refused)
            self._offered = self._refused = 0
            self._counted = now
        self._offered += 1

    def _refusal(self, domain: str, reason: str) -> Unavailable:
        self._refused += 1
        metrics.LANE_SHED.labels("edge", domain, reason).inc()
        pressing = max(self._pressure, pressure(self._offered, self._refused))
        return Unavailable(reason, _SENTENCES[reason], retry_after_s=retry_after_s(pressing, self._dice))


_SENTENCES = {
    "service-full": "The service is at its limit.",
    "domain-full": "Too many requests of this kind are waiting.",
    "queue-too-long": "The service has more to do than it can, and this request has waited too long.",
}


def pressure(offered: int, refused: int) -> float:
    """How many times what it takes the service is offered."""
    return offered / max(1, offered - refused)


def retry_after_s(pressing: float, dice: random.Random) -> int:
    """When to come back: at random, over so many seconds that all of the refused fit in beside the others.

    The same second for everybody would make one herd of them.
    """
    return dice.randint(1, min(LONGEST_RETRY_S, 1 + math.ceil(pressing)))


def _answer(waiting: _Waiting, refusal: Unavailable) -> None:
    if not waiting.called.done():
        waiting.called.set_exception(refusal)
