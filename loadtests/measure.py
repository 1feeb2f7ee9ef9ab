"""Folds a history into figures: per flow, over all, per second. Pure; redone from the ledger at will.

A request is *good* when it was answered with a status its flow expects. Everything else is a failure: a refusal nobody
expects, no answer, a write whose answer never came.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from loadtests.history import History
from loadtests.ledger import Done
from loadtests.percentiles import expected_rate, percentile, residual, resolved_percentile
from loadtests.scenario import Scenario
from loadtests.shape import Shape


@dataclass(frozen=True, slots=True)
class Request:
    """One request as a service level sees it. `d` is None when its end was never seen; `lag_ms` is how late it was begun."""

    flow: str
    t: float
    d: float | None
    status: int
    good: bool
    lag_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the run in monotonic seconds; its end is not part of it."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Figures:
    """One flow, or all of them, in a window. `refused` counts expected 4xx answers. Percentiles in milliseconds: of good
    requests with failures charged as infinite; None when too few samples lie beyond.
    """

    name: str
    requests: int
    failures: int
    refused: int
    rate: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Observation:
    """What one window showed. `expected_rate` is by Little's law from `users` (their mean number), or what an open load set
    out to send; None without either. `offered_p95_ms` charges each request from when it was meant to begin: what a person
    who came at that moment waited, where a late generator made them wait unseen.
    """

    window: Window
    requests: tuple[Request, ...]
    total: Figures
    flows: tuple[Figures, ...]
    users: float
    expected_rate: float | None
    offered_p95_ms: float | None = None

    @property
    def error_rate(self) -> float:
        """Failures as a share of requests; 0 when there were none at all."""
        return self.total.failures / self.total.requests if self.total.requests else 0.0

    @property
    def rate_residual(self) -> float | None:
        """How far the rate is from the expected one, as a share of it."""
        return None if self.expected_rate is None else residual(self.total.rate, self.expected_rate)


@dataclass(frozen=True, slots=True)
class Second:
    """One step of the run for a drawing: percentiles are plain, however few the samples. None where nothing was good."""

    t: float
    requests: int
    failures: int
    p50_ms: float | None
    p95_ms: float | None


def requests(history: History, scenario: Scenario) -> tuple[Request, ...]:
    """Every request of the history in the order of its start, a write without an answer included as a failure."""
    expected = {flow.name: frozenset(flow.expect) for flow in scenario.flows}
    answered = {done.op for done in history.dones if done.write}
    found = [
        Request(done.flow, done.t, done.d, done.status, is_good(done, expected), done.lag) for done in history.dones
    ]
    found += [
        Request(invoke.flow, invoke.t, None, 0, good=False) for invoke in history.invokes if invoke.op not in answered
    ]
    return tuple(sorted(found, key=lambda request: request.t))


def is_good(done: Done, expected: Mapping[str, frozenset[int]]) -> bool:
    """Whether the answer is one that its flow expects; for a flow of no scenario, whether it was acknowledged."""
    statuses = expected.get(done.flow)
    if statuses is None:
        return done.outcome == "ok"
    return done.outcome != "unknown" and done.status in statuses


def steady_window(history: History, settle_s: float = 0.0) -> Window | None:
    """From `settle_s` after the most users are up to the first of them leaving, or the last request; None if never."""
    users = sorted(history.users, key=lambda user: user.t)
    if not users or not history.dones:
        return None
    counts = list(accumulate(1 if user.up else -1 for user in users))
    top = counts.index(max(counts))
    left = next((user.t for user in users[top:] if not user.up), math.inf)
    window = Window(users[top].t + settle_s, min(left, max(done.t for done in history.dones)))
    return window if window.seconds > 0 else None


def shaped_window(history: History, shape: Shape, settle_s: float = 0.0) -> Window | None:
    """From `settle_s` after the end of the ramp to the end of the last stage, or the last request; None if never."""
    origin = origin_t(history)
    if origin is None or not history.dones:
        return None
    end = min(origin + shape.length_s, max(done.t for done in history.dones))
    window = Window(origin + shape.ramp_s + settle_s, end)
    return window if window.seconds > 0 else None


def origin_t(history: History) -> float | None:
    """When the load began: its ledger was opened a moment before; None without one."""
    first = [clock.mono for clock in history.clocks[:1]]
    begun = [user.t for user in history.users] or [done.t - (done.lag or 0.0) / 1000 for done in history.dones]
    return min(begun, default=first[0] if first else None)


def observe(
    history: History, scenario: Scenario, window: Window | None = None, shape: Shape | None = None
) -> Observation:
    """The figures of `window`, or of the whole history. A request belongs to the window it starts in.

    With a `shape` the users, or the rate, that should have been there come from it.
    """
    seen = requests(history, scenario)
    if window is None:
        window = Window(seen[0].t, math.nextafter(seen[-1].t, math.inf)) if seen else Window(0.0, 0.0)
    times = [request.t for request in seen]
    inside = seen[bisect_left(times, window.begin) : bisect_left(times, window.end)]
    by_flow: dict[str, list[Request]] = defaultdict(list)
    for request in inside:
        by_flow[request.flow].append(request)
    order = [flow.name for flow in scenario.flows if flow.name in by_flow]
    order += sorted(by_flow.keys() - set(order))
    durations = [request.d for request in inside if request.d is not None]
    users, expected = _expected(history, scenario, window, shape, durations)
    good = [request for request in inside if request.good and request.d is not None]
    offered = sorted((request.d or 0.0) + (request.lag_ms or 0.0) / 1000 for request in good)
    return Observation(
        window=window,
        requests=inside,
        total=figures("all", inside, window.seconds),
        flows=tuple(figures(name, by_flow[name], window.seconds) for name in order),
        users=users,
        expected_rate=expected,
        offered_p95_ms=in_ms(resolved_percentile(offered, 95, len(inside) - len(good))),
    )


def _expected(
    history: History, scenario: Scenario, window: Window, shape: Shape | None, durations: Sequence[float]
) -> tuple[float, float | None]:
    """How many users there were in the window, and the rate that follows."""
    if not durations or window.seconds <= 0:
        return 0.0, None
    origin = origin_t(history) or 0.0
    area = shape.area(window.begin - origin, window.end - origin) / window.seconds if shape else None
    if shape and shape.model == "open":
        return sum(durations) / window.seconds, area
    users = mean_users(history, window) if area is None else area
    if not users:
        return users, None
    return users, expected_rate(users, sum(durations) / len(durations), scenario.think.mean_s)


def figures(name: str, of: Sequence[Request], seconds: float) -> Figures:
    """The figures of these requests, made within `seconds`."""
    good = good_durations(of)
    failures = len(of) - len(good)
    p50, p95, p99 = (resolved_percentile(good, percent, failures) for percent in (50, 95, 99))
    return Figures(
        name=name,
        requests=len(of),
        failures=failures,
        refused=sum(request.good and request.status >= 400 for request in of),
        rate=len(of) / seconds if seconds else 0.0,
        p50_ms=in_ms(p50),
        p95_ms=in_ms(p95),
        p99_ms=in_ms(p99),
    )


def good_durations(of: Iterable[Request]) -> list[float]:
    """Durations of the good requests, ascending."""
    return sorted(request.d for request in of if request.good and request.d is not None)


def mean_users(history: History, window: Window) -> float:
    """How many virtual users were up, on average over the window."""
    if window.seconds <= 0:
        return 0.0
    began: dict[int, float] = {}
    user_seconds = 0.0
    for user in history.users:
        if user.up:
            began[user.user] = user.t
        elif user.user in began:
            user_seconds += _overlap(window, began.pop(user.user), user.t)
    user_seconds += sum(_overlap(window, begin, window.end) for begin in began.values())
    return user_seconds / window.seconds


def per_second(of: Sequence[Request], window: Window, step_s: float = 1.0) -> tuple[Second, ...]:
    """The window in steps, each with the requests that *ended* in it, so that an outage shows when it was felt."""
    ended = sorted(of, key=_ended)
    ends = [_ended(request) for request in ended]
    steps = []
    for index in range(math.ceil(window.seconds / step_s)):
        begin = window.begin + index * step_s
        slice_ = ended[bisect_left(ends, begin) : bisect_left(ends, begin + step_s)]
        good = good_durations(slice_)
        p50, p95 = (percentile(good, percent) if good else None for percent in (50, 95))
        steps.append(Second(begin, len(slice_), len(slice_) - len(good), in_ms(p50), in_ms(p95)))
    return tuple(steps)


def in_ms(seconds: float | None) -> float | None:
    """Seconds as milliseconds, infinity and None included."""
    return None if seconds is None else seconds * 1000


def _ended(request: Request) -> float:
    return request.t + (request.d or 0.0)


def _overlap(window: Window, begin: float, end: float) -> float:
    return max(0.0, min(end, window.end) - max(begin, window.begin))
