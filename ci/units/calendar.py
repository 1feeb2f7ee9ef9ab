"""From cron to systemd: the same instants as an `OnCalendar=` (systemd.time(7), crontab(5))."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ci.units.job import portable_cron

_DAYS: Final = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def on_calendar(expression: str) -> tuple[str, ...]:
    """One expression, or two: cron takes either day when both the day of the month and that of the week are restricted.

    Raises UsageError for an expression that is none or cannot be said.
    """
    cron = portable_cron(expression)
    time = f"{_listed(cron.hours, range(24))}:{_listed(cron.minutes, range(60))}:00 UTC"
    months = _listed(cron.months, range(1, 13))
    days = _listed(cron.days, range(1, 32))
    weekdays = {day % 7 for day in cron.weekdays if isinstance(day, int)}
    names = "" if len(weekdays) == len(_DAYS) else ",".join(_DAYS[day] for day in sorted(weekdays)) + " "
    if cron.day_and:
        return (f"{names}*-{months}-{days} {time}",)
    return (f"*-{months}-{days} {time}", f"{names}*-{months}-* {time}")


def _listed(values: Iterable[int], everything: range) -> str:
    """`01,15`, or `*` for all there are."""
    found = sorted(values)
    return "*" if found == list(everything) else ",".join(f"{value:02d}" for value in found)
