"""Rounds of a benchmark held against goals. Pure: what every round found goes in, rows come out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tests.bench.figures import Row, at_least, at_most

Method = TypeVar("Method")
Round = dict[str, float]
"""What one round found, by name; what could not be measured is not there."""

Value = Callable[[Round], float]
Make = Callable[[str, Sequence[float], str], Row]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A figure that is made of what a round found, and how it is judged."""

    name: str
    value: Value
    unit: str
    make: Make


def of(name: str) -> Value:
    """What the round found under that name."""
    return lambda found: found[name]


def ratio(one: str, other: str, scale: float = 1.0) -> Value:
    """Of one round, so that both were measured within the same minute."""
    return lambda found: scale * found[one] / found[other]


def under(goal: float) -> Make:
    """At most that much."""
    return lambda name, samples, unit: at_most(name, samples, unit, goal)


def over(goal: float) -> Make:
    """At least that much."""
    return lambda name, samples, unit: at_least(name, samples, unit, goal)


def judged(wanted: Sequence[Wanted], rounds: Sequence[Round]) -> tuple[list[Row], list[str]]:
    """A row for everything that every round measured, and the names of the rest."""
    rows, missing = [], []
    for one in wanted:
        try:
            samples = [one.value(found) for found in rounds]
        except KeyError:
            missing.append(one.name)
        else:
            rows.append(one.make(one.name, samples, one.unit))
    return rows, missing


def summary(rows: Sequence[Row], missing: Sequence[str]) -> str:
    """One line: how many goals were met, missed, or not tried."""
    held = [row for row in rows if row.goal]
    met = sum(row.met for row in held)
    line = f"{met} goals met, {len(held) - met} missed, {len(missing)} figures not measured"
    return f"{line}: {', '.join(missing)}" if missing else line


def exit_code(rows: Sequence[Row], missing: Sequence[str]) -> int:
    """0 when every goal was tried and met, 1 when one was missed, 3 when one could not be tried."""
    if not all(row.met for row in rows):
        return 1
    return 3 if missing else 0


def turns(methods: Sequence[Method], number: int) -> list[Method]:
    """The methods in the order of that round."""
    first = number % len(methods)
    return [*methods[first:], *methods[:first]]


@contextmanager
def timed(found: Round, name: str) -> Iterator[None]:
    """Seconds of the block, unless it fails."""
    began = time.perf_counter()
    yield
    found[name] = time.perf_counter() - began
