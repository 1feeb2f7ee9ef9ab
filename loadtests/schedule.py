"""The schedule that all load tools play: which flow each user plays at each step and how long it pauses before, drawn once.

    closed   {"user": 1, "steps": [[flow, think_ms], ...]}    one line per user, in order; played round again when used up
    open     {"at_ms": 12, "flow": 3}                         one line per arrival, in order, numbered from 1

`flow` counts the scenario's flows as they stand in the file. Three random generators in three languages would agree on the
mix only in the long run; with one file they agree on every step.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import msgspec

from loadtests.chance import Generator, generator
from loadtests.errors import PlanError
from loadtests.scenario import Scenario
from loadtests.shape import Shape

_Line = TypeVar("_Line")

ENDLESS_S = 600.0
"""A load without an end gets steps for this long, and then plays them again."""

MARGIN = 1.3
"""More steps than pauses of mean length leave room for, because some users draw short ones."""

MARGIN_STEPS = 20


class UserSteps(msgspec.Struct, frozen=True):
    """One user's steps: the index of a flow, and the pause before it in milliseconds."""

    user: int
    steps: tuple[tuple[int, int], ...]


class Arrival(msgspec.Struct, frozen=True):
    """One request of the open model: when it is due after the load's begin, and the index of its flow."""

    at_ms: int
    flow: int


def user_steps(scenario: Scenario, seed: int, users: int, seconds: float, password: bool = True) -> Iterator[UserSteps]:
    """The steps of users 1 to `users`, enough for `seconds`. Without a shared `password` nothing needs one."""
    weights = _weights(scenario, password)
    steps = int((seconds or ENDLESS_S) / scenario.think.mean_s * MARGIN) + MARGIN_STEPS
    low, spread = scenario.think.min_s * 1000, (scenario.think.max_s - scenario.think.min_s) * 1000
    for user in range(1, users + 1):
        draw = generator(f"{seed}-schedule-{user}")
        yield UserSteps(user, tuple((_flow(draw, weights), round(low + draw() * spread)) for _ in range(steps)))


def arrivals(scenario: Scenario, seed: int, shape: Shape, password: bool = True) -> Iterator[Arrival]:
    """The arrivals of an open load: number n begins when n arrivals are due by the shape."""
    weights = _weights(scenario, password)
    draw = generator(f"{seed}-schedule-arrivals")
    for at_s in instants(shape):
        yield Arrival(round(at_s * 1000), _flow(draw, weights))


def instants(shape: Shape) -> Iterator[float]:
    """When the area below the shape's lines reaches 1, 2, 3, and so on, in seconds."""
    starts, before, due, done = 0.0, 0, 1, 0.0
    for stage in shape.stages:
        if stage.seconds:
            slope = (stage.target - before) / stage.seconds
            whole = done + stage.seconds * (before + stage.target) / 2
            while due <= whole + 1e-9:
                wanted = due - done
                # The root of before·t + slope·t²/2 = wanted, written so that a level stage does not divide by zero.
                root = math.sqrt(max(before * before + 2 * slope * wanted, 0.0))
                yield starts + 2 * wanted / (before + root)
                due += 1
            done = whole
        starts, before = starts + stage.seconds, stage.target


def write(path: Path, lines: Iterator[UserSteps] | Iterator[Arrival]) -> None:
    """`path` holds the schedule."""
    with path.open("wb") as file:
        for line in lines:
            file.write(msgspec.json.encode(line) + b"\n")


def read_steps(path: Path) -> list[UserSteps]:
    """The users of the closed model. Raises PlanError when the file cannot be used."""
    return _read(path, msgspec.json.Decoder(UserSteps))


def read_arrivals(path: Path) -> list[Arrival]:
    """The arrivals of the open model. Raises PlanError when the file cannot be used."""
    return _read(path, msgspec.json.Decoder(Arrival))


def _read(path: Path, decoder: msgspec.json.Decoder[_Line]) -> list[_Line]:
    try:
        found = decoder.decode_lines(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise PlanError(
            f"The schedule {path} cannot be used ({error}); start load tools with `gymkhana load`."
        ) from error
    if not found:
        raise PlanError(f"The schedule {path} is empty; ask for more seconds or a higher rate.")
    return found


def _weights(scenario: Scenario, password: bool) -> list[float]:
    """The weights added up; a flow that cannot be played weighs nothing."""
    return list(accumulate(flow.weight if flow.playable(password) else 0.0 for flow in scenario.flows))


def _flow(draw: Generator, weights: Sequence[float]) -> int:
    return bisect(weights, draw() * weights[-1], hi=len(weights) - 1)
