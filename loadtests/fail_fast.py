"""Whether a load that is still running can meet its service levels at all, so that a lost one need not be played to its end.

A level is lost when it would be missed even if every request that can still come is good and fast.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from loadtests.ledger import Done, Line, User
from loadtests.measure import is_good
from loadtests.scenario import ErrorLevel, LatencyLevel, Scenario
from loadtests.service_levels import level_name
from loadtests.shape import Shape


@dataclass(slots=True)
class _Tally:
    """Requests that a level speaks of, and how many of them count against it."""

    level: LatencyLevel | ErrorLevel
    seen: int = 0
    bad: int = 0


@dataclass(slots=True)
class Prospects:
    """Folds the lines of a running load with this shape, and says when a level is lost."""

    scenario: Scenario
    shape: Shape
    _tallies: list[_Tally] = field(init=False)
    _expected: dict[str, frozenset[int]] = field(init=False)
    _origin: float | None = None

    def __post_init__(self) -> None:
        levels = (level for level in self.scenario.levels if isinstance(level, LatencyLevel | ErrorLevel))
        self._tallies = [_Tally(level) for level in levels]
        self._expected = {flow.name: frozenset(flow.expect) for flow in self.scenario.flows}

    def feed(self, lines: Iterable[Line]) -> None:
        """Takes in the lines written since the last time."""
        for line in lines:
            if isinstance(line, User | Done) and self._origin is None:
                self._origin = line.t
            if isinstance(line, Done):
                for tally in self._tallies:
                    if self._concerns(tally.level, line):
                        tally.seen += 1
                        tally.bad += self._counts_against(tally.level, line)

    def lost(self, now: float | None = None) -> str:
        """Why a level cannot be met any more at the monotonic instant `now`, as a sentence; empty while all can."""
        if self._origin is None:
            return ""
        coming = self._most_to_come((time.monotonic() if now is None else now) - self._origin)
        for tally in self._tallies:
            allowed = _share(tally.level) * (tally.seen + coming)
            if tally.bad > allowed:
                return (
                    f"{level_name(tally.level)} cannot be met any more: {tally.bad} of {tally.seen} requests so far "
                    f"{'failed' if isinstance(tally.level, ErrorLevel) else 'failed or were too slow'}."
                )
        return ""

    def _concerns(self, level: LatencyLevel | ErrorLevel, done: Done) -> bool:
        if level.flow is not None and level.flow != done.flow:
            return False
        bounded = level.from_s is not None or level.to_s is not None
        if isinstance(level, ErrorLevel) and not bounded:
            return True
        settle_s = self.scenario.think.max_s if self.shape.model == "closed" else 0.0
        # Ten per cent later than planned, because real users arrive a little late, and none may be counted too early.
        begin = (self._origin or 0.0) + self.shape.ramp_s * 1.1 + settle_s
        end = (self._origin or 0.0) + self.shape.length_s
        if level.to_s is not None:
            end = min(end, begin + level.to_s)
        return begin + (level.from_s or 0.0) <= done.t < end

    def _counts_against(self, level: LatencyLevel | ErrorLevel, done: Done) -> bool:
        if not is_good(done, self._expected):
            return True
        return isinstance(level, LatencyLevel) and done.d * 1000 > level.gate_ms

    def _most_to_come(self, elapsed_s: float) -> float:
        """As many requests as can still begin: users who never wait for an answer, or all arrivals; and those in flight."""
        area = self.shape.area(elapsed_s, self.shape.length_s)
        if self.shape.model == "open":
            return area + self.shape.top * self.scenario.timeout_s
        shortest_s = max(self.scenario.think.min_s, 0.01)
        return area / shortest_s + self.shape.top


def _share(level: LatencyLevel | ErrorLevel) -> float:
    return level.gate_share if isinstance(level, ErrorLevel) else 1 - level.percentile / 100
