"""Service levels: is what was observed good enough? Pure, with a reason for everything that is not a plain pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loadtests.measure import Observation, Request, Window, good_durations
from loadtests.percentiles import percentile, resolved
from loadtests.scenario import ErrorLevel, LatencyLevel, Level, RateLevel

Result = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Judged:
    """One level and how it came out. `measured` is in `unit`; None when it has no value.

    `aim_met` answers the level's printed aim, which never gates; None when there is no aim or no value.
    """

    name: str
    goal: str
    unit: Literal["ms", "share"]
    measured: float | None
    result: Result
    why: str = ""
    aim_met: bool | None = None

    @property
    def told(self) -> str:
        """What was measured, as people read it: `0.12%`, `12.3 ms`, `failed` where it never ended, `-` for nothing."""
        if self.measured is None:
            return "-"
        if self.unit == "share":
            return f"{self.measured:.2%}"
        return "failed" if math.isinf(self.measured) else f"{self.measured:.1f} ms"


def judge(
    levels: Sequence[Level], steady: Observation, whole: Observation, *, samples_min: int = 1
) -> tuple[Judged, ...]:
    """Each level judged: latency and rate on the `steady` observation, errors on the `whole` one.

    A ramp is no time to measure speed, but a request that failed in it has failed. A level with a window is judged on those
    seconds of `steady` alone.
    """
    return tuple(_judged(level, steady, whole, samples_min) for level in levels)


def level_name(level: Level) -> str:
    """What the level is called wherever it is spoken of."""
    match level:
        case LatencyLevel():
            name = f"p{level.percentile:g} of {level.flow or 'all requests'}"
        case ErrorLevel():
            name = "error rate" if level.flow is None else f"error rate of {level.flow}"
        case RateLevel():
            return "achieved rate"
    if level.from_s is None and level.to_s is None:
        return name
    return f"{name}, {level.from_s or 0:g}-{'' if level.to_s is None else f'{level.to_s:g}'} s"


def window_of(level: LatencyLevel | ErrorLevel, steady: Window) -> Window | None:
    """The seconds that the level speaks of; None when it speaks of all."""
    if level.from_s is None and level.to_s is None:
        return None
    end = steady.end if level.to_s is None else min(steady.begin + level.to_s, steady.end)
    return Window(steady.begin + (level.from_s or 0.0), end)


def _within(level: LatencyLevel | ErrorLevel, steady: Observation) -> Sequence[Request]:
    window = window_of(level, steady.window)
    if window is None:
        return steady.requests
    return [request for request in steady.requests if window.begin <= request.t < window.end]


def _judged(level: Level, steady: Observation, whole: Observation, samples_min: int) -> Judged:
    match level:
        case LatencyLevel():
            return _latency(level, _of(_within(level, steady), level.flow), samples_min)
        case ErrorLevel():
            found = whole.requests if window_of(level, steady.window) is None else _within(level, steady)
            return _errors(level, _of(found, level.flow), samples_min)
        case RateLevel():
            return _rate(level, steady, samples_min)


def _latency(level: LatencyLevel, requests: Sequence[Request], samples_min: int) -> Judged:
    name = level_name(level)
    goal = f"at most {level.gate_ms:g} ms"
    if level.aim_ms is not None:
        goal += f" (aim {level.aim_ms:g} ms)"
    if too_few := _too_few(len(requests), samples_min):
        return Judged(name, goal, "ms", None, "unknown", too_few)
    if not resolved(len(requests), level.percentile):
        return Judged(name, goal, "ms", None, "unknown", f"not resolved by {len(requests)} requests")
    good = good_durations(requests)
    failures = len(requests) - len(good)
    value_ms = percentile(good, level.percentile, failures) * 1000
    aim_met = None if level.aim_ms is None else value_ms <= level.aim_ms
    if math.isinf(value_ms):
        why = f"{failures} of {len(requests)} requests failed, and a failure counts as infinitely slow"
        return Judged(name, goal, "ms", value_ms, "fail", why, aim_met)
    if value_ms > level.gate_ms:
        return Judged(name, goal, "ms", value_ms, "fail", f"{value_ms - level.gate_ms:.0f} ms too slow", aim_met)
    return Judged(name, goal, "ms", value_ms, "pass", "" if aim_met is not False else "slower than the aim", aim_met)


def _errors(level: ErrorLevel, requests: Sequence[Request], samples_min: int) -> Judged:
    name = level_name(level)
    goal = f"at most {level.gate_share:.2%}" if level.gate_share else "0"
    failed = [request for request in requests if not request.good]
    if failed and len(failed) / len(requests) > level.gate_share:
        return Judged(name, goal, "share", len(failed) / len(requests), "fail", _blame(failed))
    if too_few := _too_few(len(requests), samples_min):
        return Judged(name, goal, "share", None, "unknown", too_few)
    return Judged(name, goal, "share", len(failed) / len(requests), "pass")


def _rate(level: RateLevel, steady: Observation, samples_min: int) -> Judged:
    name = level_name(level)
    goal = f"within {level.gate_share:.0%} of what think time and latency imply"
    if too_few := _too_few(steady.total.requests, samples_min):
        return Judged(name, goal, "share", None, "unknown", too_few)
    off = steady.rate_residual
    if off is None or math.isinf(off):
        return Judged(name, goal, "share", None, "unknown", "no virtual user was seen in the measured window")
    if abs(off) > level.gate_share:
        why = f"{steady.total.rate:.1f}/s, expected {steady.expected_rate:.1f}/s"
        return Judged(name, goal, "share", off, "fail", why)
    return Judged(name, goal, "share", off, "pass")


def _of(requests: Sequence[Request], flow: str | None) -> Sequence[Request]:
    return requests if flow is None else [request for request in requests if request.flow == flow]


def _too_few(samples: int, samples_min: int) -> str:
    if not samples:
        return "nothing was sent"
    return f"{samples} requests, {samples_min} needed" if samples < samples_min else ""


def _blame(failed: Sequence[Request]) -> str:
    """How many failed, and the most frequent way of failing."""
    ways: dict[tuple[str, int], int] = {}
    for request in failed:
        ways[request.flow, request.status] = ways.get((request.flow, request.status), 0) + 1
    flow, status = max(ways, key=lambda way: ways[way])
    answer = f"status {status}" if status else "no answer"
    return f"{len(failed)} failed, most often {flow} with {answer}"
