"""Durations as rules and operators write them: `90s`, `5m`, `26h`, `8d`, `500ms`."""

from __future__ import annotations

import re

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_ONE = re.compile(r"(\d+)(ms|s|m|h|d|w)")


def seconds(text: str) -> float:
    """So many seconds. Raises ValueError for what is no duration."""
    parts = _ONE.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration; write 90s, 5m, 26h or 8d")
    return sum(int(number) * _UNITS_S[unit] for number, unit in parts)


def promql(text: str) -> str:
    """The same as Prometheus writes it, in one unit."""
    milliseconds = round(seconds(text) * 1000)
    for unit, size_s in sorted(_UNITS_S.items(), key=lambda one: -one[1]):
        size_ms = round(size_s * 1000)
        if unit != "w" and milliseconds % size_ms == 0 and milliseconds:
            return f"{milliseconds // size_ms}{unit}"
    return "0s"


def words(lasting_s: float) -> str:
    """A length of time as people read it: `3 min`, `2.5 h`."""
    for unit, size_s in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if lasting_s >= 2 * size_s:
            many = lasting_s / size_s
            return f"{many:,.0f} {unit}" if many >= 100 else f"{many:.3g} {unit}"
    return f"{max(0.0, lasting_s):.0f} s"
