"""Whether a load measured the service or itself: every reason to distrust its figures, as one sentence each. Pure.

A tool that is out of breath, that skipped what it was to send, or that never played part of its script reports figures all
the same, and they look good.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import fmean, pvariance

from loadtests.generator import SATURATED_CORES, GeneratorSample, mean_busiest
from loadtests.history import History
from loadtests.measure import Observation, origin_t
from loadtests.percentiles import percentile, residual, resolved
from loadtests.scenario import PREFILLED, Flow, Scenario, Think
from loadtests.shape import Shape

LITTLE = 0.05
"""Users, rate, pauses and latency fit together within this share, or something was not as the run says."""

LITTLE_DEVIATIONS = 4.0
"""Random pauses alone move the rate of a short run; more than so many standard deviations they do not."""

LAG_MS_MAX = 100.0
"""A generator whose 99th request in a hundred begins later than this after it was meant to has no time to measure either."""

LAG_PERCENTS = (99.0, 95.0, 90.0)
"""The first of these that the run resolves is looked at, because the slowest of a hundred requests is chance."""

EARLY_S = 2.0
"""A load may end so much before its time, and the longest pause: some users are in theirs."""

EXPECTED_MIN = 20.0
"""A flow that chance alone would have played so often is not missing by chance: one in half a billion."""

PATIENCE_STEPS = 40
"""A flow that needs an id somebody else must first provide is not missed in a user's first steps."""


def doubts_of(
    history: History,
    scenario: Scenario,
    samples: Sequence[GeneratorSample],
    steady: Observation,
    whole: Observation,
    *,
    shape: Shape | None,
    length_s: float | None,
    settled: bool,
) -> tuple[str, ...]:
    """Every doubt about the run, the gravest first; none when its figures can be trusted."""
    if not whole.total.requests:
        return ("Nothing was sent.",)
    return tuple(_doubts(history, scenario, samples, steady, shape=shape, length_s=length_s, settled=settled))


def _doubts(
    history: History,
    scenario: Scenario,
    samples: Sequence[GeneratorSample],
    steady: Observation,
    *,
    shape: Shape | None,
    length_s: float | None,
    settled: bool,
) -> Iterator[str]:
    if history.cut_short:
        yield f"The ledger was cut short: {history.cut_short}."
    if not scenario.levels:
        yield "The scenario has no service level, so nothing was judged."
    if not settled:
        yield "The load ended before all users were up and settled."
    yield from _early(history, scenario, length_s)
    busiest = mean_busiest(samples, steady.window.begin, steady.window.end)
    if busiest is not None and busiest > SATURATED_CORES:
        yield f"The load generator was the bottleneck: it used {busiest:.2f} cores."
    if history.dropped:
        yield f"The load generator was the bottleneck: it dropped {history.dropped} arrivals that found nobody free."
    yield from _lag(steady)
    if settled:
        yield from _little(scenario, steady, shape)
    yield from _never_played(history, scenario)


def _lag(steady: Observation) -> Iterator[str]:
    lags = sorted(request.lag_ms for request in steady.requests if request.lag_ms is not None)
    percent = next((percent for percent in LAG_PERCENTS if resolved(len(lags), percent)), None)
    if percent is not None and (value := percentile(lags, percent)) > LAG_MS_MAX:
        yield (
            f"The load generator was the bottleneck: {100 - percent:.0f} requests in a hundred began {value:.0f} ms late "
            f"or more, and {LAG_MS_MAX:.0f} ms are allowed."
        )


def _early(history: History, scenario: Scenario, length_s: float | None) -> Iterator[str]:
    """Somebody or something ended the load before its time, in good order."""
    origin = origin_t(history)
    if length_s is None or origin is None or not history.dones:
        return
    lasted_s = max(done.t + done.d for done in history.dones) - origin
    if lasted_s < length_s - scenario.think.max_s - EARLY_S:
        yield f"The load was ended early: it lasted {lasted_s:.0f} of {length_s:.0f} s."


def _little(scenario: Scenario, steady: Observation, shape: Shape | None) -> Iterator[str]:
    """Users, rate, pauses and answers must account for each other; late starts are time too, and are judged apart."""
    requests = steady.requests
    durations = [request.d for request in requests if request.d is not None]
    expected, spread, changes = steady.expected_rate, 0.0, 0
    if not durations or not expected:
        return
    if shape is None or shape.model == "closed":
        late_s = fmean((request.lag_ms or 0.0) / 1000 for request in requests)
        expected = steady.users / (scenario.think.mean_s + fmean(durations) + late_s)
        spread = _spread(scenario.think, durations)
        changes = sum(abs(two.target - one.target) for one, two in pairwise(shape.stages)) if shape else 0
    # The rate of a window is known to a request at each end, and to what random pauses do to it in between. Users who come
    # or go in the middle of it are half a pause away from their first request, or from one they do not make any more.
    chance = max(LITTLE_DEVIATIONS * spread / math.sqrt(len(requests)), 2 / len(requests))
    off = residual(steady.total.rate, expected)
    if abs(off) > max(LITTLE, chance) + changes / 2 / len(requests):
        what = "Little's law does not close" if spread else "The rate is not what it was meant to be"
        yield (
            f"{what}: {steady.total.rate:.1f} requests a second were made where {expected:.1f} were expected, "
            f"which is off by {abs(off):.0%}."
        )


def _spread(think: Think, durations: Sequence[float]) -> float:
    """The standard deviation of a pause and an answer together, as a share of their mean."""
    pauses = (think.max_s - think.min_s) ** 2 / 12
    return math.sqrt(pauses + pvariance(durations)) / (think.mean_s + fmean(durations))


def _never_played(history: History, scenario: Scenario) -> Iterator[str]:
    """Flows that never ran though the load was long enough; those played instead of others count for themselves."""
    played = Counter(done.flow for done in history.dones)
    played.update(invoke.flow for invoke in history.invokes)
    by_user = Counter(done.user for done in history.dones)
    late = sum(max(count - PATIENCE_STEPS, 0) for count in by_user.values())
    shareable = any(played[flow.name] for flow in scenario.flows if not flow.playable(password=False))
    flows = [flow for flow in scenario.flows if shareable or flow.playable(password=False)]
    weight = sum(flow.weight for flow in flows)
    for flow in flows:
        steps = late if _is_learnt(flow) else len(history.dones)
        if played[flow.name] == 0 and weight and steps * flow.weight / weight >= EXPECTED_MIN:
            yield f"The flow {flow.name} was never played; see what it takes and what fills that."


def _is_learnt(flow: Flow) -> bool:
    return flow.takes is not None and flow.takes not in PREFILLED
