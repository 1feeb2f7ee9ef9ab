"""The agreement certificate: do several load tools, given the same schedule, report the same service? Pure.

Before two tools can be held against each other, their clocks must say the same thing; the adapters see to that, once:

    locust   start and duration on the monotonic clock, around the whole client call
    k6       start by the wall clock in whole milliseconds, put on the monotonic clock by the ledger's clock line;
             duration is `blocked` + `duration`, for k6 itself leaves connecting out
    jmeter   start and duration on the monotonic clock, around the whole sample, connecting included

Percentiles are those of `measure.py` for all of them: exact, of good requests, failures charged as infinite.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from loadtests.law import Law
from loadtests.measure import Observation
from loadtests.service_levels import Result

MIX_SHARE = 0.01
"""A flow's share of all requests differs by no more than this from tool to tool."""

LATENCY_SHARE = 0.05
LATENCY_MS = 2.0
"""Percentiles differ by no more than the larger of the two."""

PERCENTILES = (50, 95)


@dataclass(frozen=True, slots=True)
class Played:
    """What one tool made of the schedule: its whole load, its steady stretch, and every reason to doubt them.

    `late_ms` is by how much the machine itself can have moved a percentile meanwhile, by a witness; nothing where none was.
    """

    tool: str
    whole: Observation
    steady: Observation
    doubts: tuple[str, ...] = ()
    late_ms: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure by every tool, and by the reference's law where there is one. `odd` are the tools that stand out."""

    level: str
    unit: Literal["ms", "share"]
    values: Mapping[str, float]
    law: float | None
    result: Result
    odd: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Whether the tools agree. `thin` are the flows that were played too rarely to compare their p95."""

    verdict: Result
    comparisons: tuple[Comparison, ...]
    doubts: tuple[str, ...]
    thin: tuple[str, ...]

    @property
    def odd(self) -> dict[str, tuple[str, ...]]:
        """The tools that stand out, by the level at which they do."""
        return {one.level: one.odd for one in self.comparisons if one.result == "fail"}


def certify(plays: Sequence[Played], laws: Mapping[str, Law] | None = None) -> Certificate:
    """What two or more plays of one schedule say together, held against the reference server's `laws` where it served them.

    A figure beyond its tolerance fails, unless the machine itself was late by enough to explain it: then it is unknown.
    """
    flows = list(dict.fromkeys(flow.name for play in plays for flow in play.whole.flows))
    mixes = [_mix(plays, flow) for flow in flows]
    speeds = [one for flow in flows for one in _speeds(plays, flow, laws or {})]
    compared = {one.level for one in speeds}
    thin = tuple(flow for flow in flows if f"p95 of {flow}" not in compared)
    doubts = tuple(f"{play.tool}: {doubt}" for play in plays for doubt in play.doubts)
    if not speeds:
        doubts += ("No flow was played often enough by all tools to compare its latency; ask for more seconds.",)
    results = {one.result for one in (*mixes, *speeds)}
    verdict: Result = "fail" if "fail" in results else "unknown" if doubts or "unknown" in results else "pass"
    return Certificate(verdict, (*mixes, *speeds), doubts, thin)


def _mix(plays: Sequence[Played], flow: str) -> Comparison:
    values = {play.tool: _share(play.whole, flow) for play in plays}
    far = [(one, two) for one, two in combinations(values, 2) if abs(values[one] - values[two]) > MIX_SHARE]
    level = f"mix of {flow}"
    if not far:
        return Comparison(level, "share", values, None, "pass")
    one, two = max(far, key=lambda pair: abs(values[pair[0]] - values[pair[1]]))
    why = f"{one} played it {values[one]:.1%} of the time and {two} {values[two]:.1%}; {MIX_SHARE:.0%} may lie between"
    return Comparison(level, "share", values, None, "fail", _in_every(far), why)


def _speeds(plays: Sequence[Played], flow: str, laws: Mapping[str, Law]) -> Iterator[Comparison]:
    """p50 and p95 of the flow, where every tool has enough samples for it."""
    found = {play.tool: next((one for one in play.steady.flows if one.name == flow), None) for play in plays}
    for percent in PERCENTILES:
        late = {play.tool: play.late_ms.get(percent, 0.0) for play in plays}
        figures = {
            tool: None if one is None else one.p50_ms if percent == 50 else one.p95_ms for tool, one in found.items()
        }
        values = {tool: value for tool, value in figures.items() if value is not None}
        if len(values) == len(plays):
            law = laws[flow].quantile_ms(percent / 100) if flow in laws else None
            yield _speed(f"p{percent} of {flow}", values, law, late)


def _speed(level: str, values: Mapping[str, float], law: float | None, late: Mapping[str, float]) -> Comparison:
    off = {} if law is None else {tool: _beyond(value, law) for tool, value in values.items()}
    wrong = tuple(tool for tool, by in off.items() if by > 0)
    pairs = {(one, two): _beyond(values[one], values[two]) for one, two in combinations(values, 2)}
    far = [pair for pair, by in pairs.items() if by > 0]
    if not wrong and not far:
        return Comparison(level, "ms", values, law, "pass")
    sure = any(off[tool] > late[tool] for tool in wrong) or any(
        pairs[pair] > max(late[t] for t in pair) for pair in far
    )
    if wrong and law is not None:
        worst = max(wrong, key=lambda tool: off[tool])
        why = f"{worst} is {abs(values[worst] - law):.1f} ms from the law; {_allowed(law):.1f} ms are allowed"
    else:
        one, two = max(far, key=lambda pair: pairs[pair])
        nearer = min(values[one], values[two])
        why = (
            f"{one} and {two} are {abs(values[one] - values[two]):.1f} ms apart; {_allowed(nearer):.1f} ms are allowed"
        )
    if not sure:
        why += f", and the machine itself was up to {max(late.values()):.1f} ms late"
    return Comparison(level, "ms", values, law, "fail" if sure else "unknown", wrong or _in_every(far), why)


def _in_every(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The tools in each of these pairs: who disagrees with everybody. All of them, where nobody is."""
    named = [tool for pair in pairs for tool in pair]
    common = tuple(dict.fromkeys(tool for tool in named if all(tool in pair for pair in pairs)))
    return common or tuple(dict.fromkeys(named))


def _share(seen: Observation, flow: str) -> float:
    requests = next((one.requests for one in seen.flows if one.name == flow), 0)
    return requests / seen.total.requests if seen.total.requests else 0.0


def _allowed(ms: float) -> float:
    return max(LATENCY_SHARE * ms, LATENCY_MS)


def _beyond(one: float, two: float) -> float:
    """By how many milliseconds the two are further apart than allowed; 0 or less when they are not."""
    if math.isinf(one) or math.isinf(two):
        return 0.0 if one == two else math.inf
    return abs(one - two) - _allowed(min(one, two))
