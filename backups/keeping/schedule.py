"""When a backup is due: by a cron expression in UTC, or so long after the last one. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cronsim import CronSim, CronSimError

from backups.errors import UsageError
from backups.keeping.catalogue import Entry
from backups.vault import Kept

DAILY: Final = "0 2 * * *"

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhdw])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Due:
    """Whether a backup is due, why, and when the next one will be."""

    now: bool
    why: str
    next: datetime


def duration(text: str) -> timedelta:
    """`90s`, `15m`, `26h`, `8d`, `2w`. Raises UsageError for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or float(match["number"]) <= 0:
        raise UsageError(f"{text!r} is not a length of time; write a number and s, m, h, d or w: 26h.")
    return timedelta(seconds=float(match["number"]) * _UNITS[match["unit"]])


def checked_cron(expression: str) -> str:
    """The expression, when it is one. Raises UsageError, with what is wrong, when it is not."""
    try:
        CronSim(expression, datetime(2026, 1, 1))
    except CronSimError as error:
        raise UsageError(f"{expression!r} is not a cron expression ({error}); write five fields: 0 2 * * *.") from error
    return expression


def due_by_cron(entries: Sequence[Kept], expression: str, now: datetime) -> Due:
    """Due when no good backup was taken since the expression last came up. Asked twice, it makes one backup."""
    came_up = next(CronSim(checked_cron(expression), now, reverse=True))
    following = next(CronSim(expression, now))
    newest = _newest(entries)
    if newest is None:
        return Due(True, "there is no good backup yet", following)
    if newest < came_up:
        return Due(True, f"the newest good backup is older than {came_up:%Y-%m-%d %H:%M} UTC", following)
    return Due(False, f"a good backup was taken since {came_up:%Y-%m-%d %H:%M} UTC", following)


def due_every(entries: Sequence[Entry], every: timedelta, now: datetime) -> Due:
    """Due when the newest good backup is that old. One from the future, after the clock was set back, is not waited for."""
    newest = _newest(entries)
    if newest is None:
        return Due(True, "there is no good backup yet", now + every)
    if newest > now + timedelta(minutes=5):
        return Due(True, "the newest backup is from the future, so the clock was set back", now + every)
    if now - newest >= every:
        return Due(True, f"the newest good backup is {(now - newest).total_seconds():.0f} s old", now + every)
    return Due(False, f"the newest good backup is {(now - newest).total_seconds():.0f} s old", newest + every)


def rehearsed_since(entries: Sequence[Entry], limit: timedelta, now: datetime) -> str:
    """When a backup was last rehearsed, if that is not longer ago than the limit; else empty."""
    newest = max(
        (look.at for entry in entries for look in entry.verifications if look.ok and look.level == 5), default=""
    )
    return newest if newest and now - datetime.fromisoformat(newest) <= limit else ""


def _newest(entries: Sequence[Kept]) -> datetime | None:
    return next((entry.taken for entry in reversed(entries) if not entry.fault), None)
