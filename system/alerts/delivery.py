"""Notices on their way: for each receiver the newest of each severity, tried until it is taken, given up after a while.

A newer notice takes the place of one that waits, so what waits is bounded by the severities there are, however long a
receiver is away. One that was given up is not tried again before `HELD_S`, unless there is something new to tell.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from system.alerts.notices import Notice
from system.alerts.receivers import Answer, Receiver
from system.metrics import ALERT_SENDS

ATTEMPTS: Final = 8
LONGEST_PAUSE_S: Final = 60.0
HELD_S: Final = 300.0
OUTCOMES: Final = ("delivered", "failed", "given-up")

log = structlog.get_logger()

Taken = Callable[[str, Notice], None]
"""Is told the receiver's name and what it took."""


def pause_s(attempt: int, first_s: float, dice: random.Random) -> float:
    """How long to wait after that many failures: twice as long each time, half to once and a half of it by chance."""
    return float(min(first_s * 2 ** (attempt - 1), LONGEST_PAUSE_S) * (0.5 + dice.random()))


class Delivery:
    """The ways to all receivers. `offer` says what each is to know; `run` sees to it until cancelled."""

    def __init__(
        self, receivers: Sequence[Receiver], taken: Taken, first_pause_s: float, dice: random.Random | None = None
    ) -> None:
        self._receivers = receivers
        self._taken = taken
        self._first_pause_s = first_pause_s
        self._dice = dice or random.Random()
        self._waiting: dict[str, dict[str, Notice]] = {one.name: {} for one in receivers}
        self._given_up: dict[tuple[str, str], tuple[object, float]] = {}
        self._wanted: dict[str, asyncio.Event] = {one.name: asyncio.Event() for one in receivers}
        for one in receivers:
            for outcome in OUTCOMES:  # From the start, so that the first failure is an increase.
                ALERT_SENDS.labels(one.name, outcome)

    def offer(self, receiver: str, severity: str, notice: Notice | None) -> None:
        """That is what the receiver is to know of that severity now; None when there is nothing to tell any more."""
        waiting = self._waiting[receiver]
        if notice is None:
            waiting.pop(severity, None)
            return
        content, until = self._given_up.get((receiver, severity), (None, 0.0))
        if content == notice.content and time.monotonic() < until:
            return
        known = waiting.get(severity)
        if known is None or known.content != notice.content:
            waiting[severity] = notice
            self._wanted[receiver].set()

    async def run(self) -> None:
        """Runs until cancelled. A receiver that is slow or away holds up no other."""
        async with asyncio.TaskGroup() as group:
            for receiver in self._receivers:
                group.create_task(self._serve(receiver))

    async def _serve(self, receiver: Receiver) -> None:
        waiting, wanted = self._waiting[receiver.name], self._wanted[receiver.name]
        while True:
            await wanted.wait()
            wanted.clear()
            while waiting:
                await self._see_through(receiver, next(iter(waiting)))

    async def _see_through(self, receiver: Receiver, severity: str) -> None:
        waiting = self._waiting[receiver.name]
        attempt = 0
        while (notice := waiting.get(severity)) is not None:
            answer = await receiver.send(notice, time.time())
            attempt += 1
            if answer.taken:
                self._count(receiver, "delivered", notice, answer)
                self._taken(receiver.name, notice)
                self._done(receiver, severity, notice)
                return
            self._count(receiver, "failed", notice, answer)
            if not answer.again or attempt >= ATTEMPTS:
                self._count(receiver, "given-up", notice, answer)
                self._given_up[(receiver.name, severity)] = (notice.content, time.monotonic() + HELD_S)
                self._done(receiver, severity, notice)
                return
            await asyncio.sleep(pause_s(attempt, self._first_pause_s, self._dice))

    def _done(self, receiver: Receiver, severity: str, notice: Notice) -> None:
        if self._waiting[receiver.name].get(severity) is notice:
            del self._waiting[receiver.name][severity]

    def _count(self, receiver: Receiver, outcome: str, notice: Notice, answer: Answer) -> None:
        ALERT_SENDS.labels(receiver.name, outcome).inc()
        tell = log.info if answer.taken else log.warning
        names = sorted(one.name for one in (*notice.firing, *notice.resolved))
        tell(f"alert {outcome}", receiver=receiver.name, at=receiver.shown, status=notice.status, alerts=names,
             said=answer.said)  # fmt: skip
