"""The history of a process's health: a row when it changes, and one now and then, so that a gap says that nothing ran."""

from __future__ import annotations

import asyncio

from system.health import Health
from system.jobs import now_ms
from system.reporting.recorder import Recorder
from system.scrub import scrubbed

LOOK_INTERVAL_S = 0.5
BEAT_MS = 60_000

Standing = tuple[str, str]


def is_due(before: Standing | None, written_ms: int, now: Standing, at_ms: int) -> bool:
    """Whether the standing is to be written: it is new, it has changed, or a minute has gone by."""
    if before is None or before[0] != now[0]:
        return True
    return at_ms - written_ms >= BEAT_MS


async def keep(health: Health, recorder: Recorder) -> None:
    """Runs until cancelled. It looks and does not ask: keeping a history writes nothing but the history."""
    before: Standing | None = None
    written_ms = 0
    while True:
        now, at_ms = health.standing(), now_ms()
        if is_due(before, written_ms, now, at_ms):
            recorder.health(at_ms, now[0], scrubbed(now[1]))
            before, written_ms = now, at_ms
        await asyncio.sleep(LOOK_INTERVAL_S)
