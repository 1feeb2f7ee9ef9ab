"""What a round of the benchmark found, and the goals that it is held against. Pure: rounds in, rows out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tests.bench.figures import Row, at_least, at_most, plain

Round = dict[str, float]
"""Seconds and bytes by name, those of one round; what could not be measured is not there."""

Value = Callable[[Round], float]


def _of(name: str) -> Value:
    return lambda found: found[name]


def _ratio(one: str, other: str, scale: float = 1.0) -> Value:
    """Of one round, so that both were measured within the same minute."""
    return lambda found: scale * found[one] / found[other]


def _wanted(
    name: str, value: Value, unit: str, make: Callable[[str, Sequence[float], str], Row]
) -> tuple[str, Value, Callable[[Sequence[float]], Row]]:
    return name, value, lambda samples: make(name, samples, unit)


def _under(goal: float) -> Callable[[str, Sequence[float], str], Row]:
    return lambda name, samples, unit: at_most(name, samples, unit, goal)


def _over(goal: float) -> Callable[[str, Sequence[float], str], Row]:
    return lambda name, samples, unit: at_least(name, samples, unit, goal)


ROWS: Final = (
    _wanted("tired disk", _of("tired disk MB/s"), "MB/s", plain),
    _wanted("cp, fsync, of that disk", _ratio("full image bytes", "cp", 1e-6), "MB/s", plain),
    _wanted("cp, fsync", _of("cp"), "s", plain),
    _wanted("online backup (sqlite3 .backup), fsync", _of("online backup"), "s", plain),
    _wanted("VACUUM INTO, fsync", _of("vacuum into"), "s", plain),
    _wanted("full backup", _of("full"), "s", plain),
    _wanted("full backup to cp", _ratio("full", "cp"), "x", _under(1.0)),
    _wanted("full backup to online backup", _ratio("full", "online backup"), "x", _under(1.0)),
    _wanted("full backup to VACUUM INTO", _ratio("full", "vacuum into"), "x", _under(1.0)),
    _wanted("full backup, database to stored", _ratio("full image bytes", "full stored bytes"), ": 1", _over(3.0)),
    _wanted("pages changed before the incremental", _of("pages changed %"), "%", plain),
    _wanted("incremental backup", _of("incremental"), "s", plain),
    _wanted("incremental, stored to full", _ratio("incremental stored bytes", "full stored bytes", 100), "%", _under(1.5)),
    _wanted("incremental to full backup", _ratio("incremental", "full"), "x", _under(0.6)),
    _wanted("restore, checked, to first write", _of("restore"), "s", _under(12)),
    _wanted("delta restore of 100 damaged pages", _of("repair"), "s", _under(4)),
    _wanted("verify level 3, database bytes", _ratio("full image bytes", "verify", 1e-6), "MB/s", _over(400)),
    _wanted("p99 of writes, no backup", _of("p99 alone ms"), "ms", plain),
    _wanted("p99 of writes, beside a backup", _of("p99 beside ms"), "ms", plain),
    _wanted("p99 of writes, beside to without", _ratio("p99 beside ms", "p99 alone ms"), "x", _under(2.0)),
)  # fmt: skip


def judged(rounds: Sequence[Round]) -> tuple[list[Row], list[str]]:
    """A row for everything that every round measured, and the names of the rest."""
    rows, missing = [], []
    for name, value, row in ROWS:
        try:
            rows.append(row([value(found) for found in rounds]))
        except KeyError:
            missing.append(name)
    return rows, missing


def regime(rounds: Sequence[Round]) -> str:
    """Whether the goals against `cp` speak of a tired disk: it is one when `cp` was not twice as fast as the tiring."""
    lively = sum(found["full image bytes"] / found["cp"] > 2e6 * found["tired disk MB/s"] for found in rounds)
    if not lively:
        return "sustained writing in every round: cp was not twice as fast as the disk is when tired"
    return f"a burst in {lively} of {len(rounds)} rounds: cp was over twice as fast as the disk is when tired"


def summary(rows: Sequence[Row], missing: Sequence[str]) -> str:
    """One line: how many goals were met, missed, or not tried."""
    held = [row for row in rows if row.goal]
    met = sum(row.met for row in held)
    line = f"{met} goals met, {len(held) - met} missed, {len(missing)} figures not measured"
    return f"{line}: {', '.join(missing)}" if missing else line
