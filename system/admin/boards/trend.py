"""A figure over the last runs as a drawing: where its points, its line and its scale lie. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from system.drill_runs import Drilled

WIDTH: Final = 720
HEIGHT: Final = 180
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 24


@dataclass(frozen=True, slots=True)
class Point:
    """A run's figure, and where it lies."""

    x: float
    y: float
    value: float
    run: Drilled


@dataclass(frozen=True, slots=True)
class Trend:
    """The drawing: points from old to new, the line through them, and each value of the scale with its height.

    `missing` counts the runs that have no such figure: nothing had to recover, or it was not measured.
    """

    name: str
    about: str
    points: tuple[Point, ...]
    line: str
    scale: tuple[tuple[float, str], ...]
    missing: int


def trend(name: str, about: str, figures: Sequence[tuple[Drilled, float | None]]) -> Trend | None:
    """The drawing of these figures, oldest first; None when there is none of them."""
    known = [(place, run, value) for place, (run, value) in enumerate(figures) if value is not None]
    if not known:
        return None
    most = _round_up(max(value for _, _, value in known))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(figures) - 1)
    points = tuple(
        Point(round(LEFT + place * step, 1), _height(value, most), value, run) for place, run, value in known
    )
    return Trend(
        name=name,
        about=about,
        points=points,
        line=" ".join(f"{one.x},{one.y}" for one in points),
        scale=tuple((_height(share * most, most), f"{share * most:g}") for share in (0.0, 0.5, 1.0)),
        missing=len(figures) - len(known),
    )


def _height(value: float, most: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most), 1)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50… above, so that the scale has round numbers."""
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(float(f"{step * size:g}") for step in (1, 2, 5, 10) if step * size >= value)
