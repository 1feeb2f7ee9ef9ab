"""Coordinated omission undone: the latencies as they were, and as they would be had nobody waited for anybody. Pure.

In the closed model a user who waits for an answer sends nothing, so a stall is measured once per user however long it was,
and the percentiles hardly move. The correction adds what the user would have sent meanwhile, one request per expected
interval E, each of which would have waited for what was left of the stall:

    d, d - E, d - 2E, ...    for as long as the rest is at least E

which is what HdrHistogram's `recordValueWithExpectedInterval` does; E is the mean pause of the scenario and the median
latency, for that is how long a user who is not held up takes from one request to the next. A failure that took longer than
E is multiplied alike, and stays a failure. It is an estimate, and disputed for users who really wait: both are shown.

In the open model nothing needs to be invented, because each request has an intended start: what is charged is the lag from
there to the actual start (the ledger's `lag`) and the duration, as wrk2 does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from loadtests.history import History
from loadtests.measure import Observation, Request, in_ms
from loadtests.percentiles import percentile, resolved_percentile
from loadtests.scenario import Scenario

Model = Literal["closed", "open"]


@dataclass(frozen=True, slots=True)
class Latencies:
    """Percentiles in milliseconds, failures charged as infinite; None when too few of the `samples` lie beyond one."""

    label: Literal["raw", "corrected"]
    samples: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Omission:
    """The same requests twice. `interval_s` is E, None in the open model; `added` requests were never sent."""

    model: Model
    raw: Latencies
    corrected: Latencies
    interval_s: float | None
    added: int

    @property
    def method(self) -> str:
        """How the corrected figures came about, for people."""
        if self.interval_s is None:
            return "open model: measured from when each request was meant to begin"
        every = f"one every {self.interval_s:.2f} s"
        return f"closed model: with the {self.added} requests that waiting users would have sent, {every}"


def look(history: History, scenario: Scenario, seen: Observation) -> Omission:
    """The requests of `seen` raw and corrected. A load in which nobody ever comes or goes is one of the open model."""
    if not history.users and history.dones:
        return open_model(seen.requests)
    return closed_model(seen.requests, scenario.think.mean_s)


def open_model(requests: Sequence[Request]) -> Omission:
    """Charged from the intended start. A request whose tool does not tell its lag is taken to have had none."""
    raw = _latencies("raw", [(one.d, one.good) for one in requests])
    charged = [(None if one.d is None else one.d + (one.lag_ms or 0.0) / 1000, one.good) for one in requests]
    return Omission("open", raw, _latencies("corrected", charged), None, 0)


def closed_model(requests: Sequence[Request], pause_s: float) -> Omission:
    """With what users who pause for `pause_s` on average would have sent while they waited."""
    good = sorted(one.d for one in requests if one.good and one.d is not None)
    interval_s = pause_s + (percentile(good, 50) if good else 0.0)
    raw = [(one.d, one.good) for one in requests]
    charged = [(wait, one.good) for one in requests for wait in _waits(one.d, interval_s)]
    return Omission(
        "closed", _latencies("raw", raw), _latencies("corrected", charged), interval_s, len(charged) - len(raw)
    )


def _waits(d: float | None, interval_s: float) -> Iterator[float | None]:
    """The wait itself, and those that are left for each request it kept from being sent."""
    yield d
    rest = 0.0 if d is None else d - interval_s
    while rest >= interval_s > 0:
        yield rest
        rest -= interval_s


def _latencies(label: Literal["raw", "corrected"], waits: Sequence[tuple[float | None, bool]]) -> Latencies:
    good = sorted(wait for wait, is_good in waits if is_good and wait is not None)
    p50, p95, p99 = (in_ms(resolved_percentile(good, percent, len(waits) - len(good))) for percent in (50, 95, 99))
    return Latencies(label, len(waits), p50, p95, p99)
