"""Figures as words for people. What was not measured says so; it is never shown as 0."""

from __future__ import annotations

import math

from markupsafe import Markup

NBSP = "\u00a0"
NOT_MEASURED = Markup('<span class="none">not measured</span>')
UNITS = ("s", "ms", "bytes", "mib")

Number = float | int | None


def seconds(value: Number) -> str:
    """A duration for people: `52 ms`, `6.08 s`, `42.3 s`, `3 min 42 s`."""
    if value is None:
        return NOT_MEASURED
    if value < 0.1:
        figure = "0 s" if value == 0 else f"{value * 1000:.0f} ms" if value >= 0.001 else "under 1 ms"
    elif value < 120:
        figure = f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    else:
        figure = "{} min {} s".format(*divmod(round(value), 60))
    return figure.replace(" ", NBSP)


def number(value: Number, unit: str = "") -> str:
    """A figure with thousands marked and no more digits than it deserves, and its unit."""
    if value is None:
        return NOT_MEASURED
    if math.isinf(value):
        return "unbounded"
    digits = 0 if isinstance(value, int) or abs(value) >= 1000 else 1 if abs(value) >= 1 or value == 0 else 2
    return f"{value:,.{digits}f}" + (f"{NBSP}{unit}" if unit else "")


def percent(value: Number) -> str:
    """A share between 0 and 1 as a percentage; a share that is not quite 0 is never rounded to it."""
    if value is None:
        return NOT_MEASURED
    figure = "0" if value == 0 else "< 0.01" if abs(value) < 0.0001 else f"{100 * value:.3g}"
    return f"{figure}{NBSP}%"


def size(value: Number) -> str:
    """Bytes in decimal units."""
    if value is None:
        return NOT_MEASURED
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return number(value, unit)


def words(name: str) -> str:
    """A key of the record as words, its unit last: `think_time_s` is `think time, s`."""
    stem, _, unit = name.rpartition("_")
    return f"{stem.replace('_', ' ')}, {unit}" if stem and unit in UNITS else name.replace("_", " ")
