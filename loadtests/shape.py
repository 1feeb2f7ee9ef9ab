"""The shape of a load: how many users there are, or how many requests begin per second, as straight lines over time.

    closed   users wait for their answers; a stage ends with `target` users
    open     requests begin when they are due, whatever became of those before; a stage ends at `target` a second

A load begins at 0 and goes in a straight line to the target of its first stage, from there to the next one's, and so on.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Literal

import msgspec

Model = Literal["closed", "open"]


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`seconds` during which the load goes in a straight line to `target`; 0 seconds are a jump."""

    seconds: float
    target: int


class Shape(msgspec.Struct, frozen=True):
    """A model and its stages. The first stage is the ramp, and is not measured."""

    model: Model
    stages: tuple[Stage, ...]

    @property
    def ramp_s(self) -> float:
        """How long the first stage takes."""
        return self.stages[0].seconds

    @property
    def length_s(self) -> float:
        """How long all stages take."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def top(self) -> int:
        """The highest target."""
        return max(stage.target for stage in self.stages)

    def stage_at(self, t: float) -> tuple[int, int, float] | None:
        """Where the stage under way at second `t` comes from, where it goes and how long that takes; None after the last."""
        before = 0
        for stage, ends in zip(self.stages, accumulate(stage.seconds for stage in self.stages), strict=True):
            if t < ends:
                return before, stage.target, stage.seconds
            before = stage.target
        return None

    def area(self, begin: float, end: float) -> float:
        """The area below the lines between two seconds: user-seconds when closed, arrivals when open."""
        area, starts, before = 0.0, 0.0, 0
        for stage in self.stages:
            low, high = max(begin, starts), min(end, starts + stage.seconds)
            if low < high:
                slope = (stage.target - before) / stage.seconds
                area += (high - low) * (before + slope * ((low + high) / 2 - starts))
            starts, before = starts + stage.seconds, stage.target
        return area
