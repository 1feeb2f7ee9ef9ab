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
from loadtests.measure import Observation
from loadtests.percentiles import percentile
from loadtests.scenario import PREFILLED, Flow, Scenario, Think
from loadtests.shape import Shape

LITTLE = 0.05
"""Users, rate, pauses and latency fit together within this share, or something was not as the run says."""

LITTLE_DEVIATIONS = 4.0
"""Random pauses alone move the rate of a short run; more than so many standard deviations they do not."""

LAG_MS_MAX = 100.0
"""A generator whose 99th request in a hundred begins later than this after it was meant to has no time to measure either."""

LAG_SAMPLES_MIN = 100

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
    settled: bool,
) -> tuple[str, ...]:
    """Every doubt about the run, the gravest first; none when its figures can be trusted."""
    if not whole.total.requests:
        return ("Nothing was sent.",)
    return tuple(_doubts(history, scenario, samples, steady, shape=shape, settled=settled))


def _doubts(
    history: History,
    scenario: Scenario,
    samples: Sequence[GeneratorSample],
    steady: Observation,
    *,
    shape: Shape | None,
    settled: bool,
) -> Iterator[str]:
    if history.cut_short:
        yield f"The ledger was cut short: {history.cut_short}."
    if not scenario.levels:
        yield "The scenario has no service level, so nothing was judged."
    if not settled:
        yield "The load ended before all users were up and settled."
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
    if len(lags) >= LAG_SAMPLES_MIN and (p99 := percentile(lags, 99)) > LAG_MS_MAX:
        yield (
            f"The load generator was the bottleneck: one request in a hundred began {p99:.0f} ms late or more, "
            f"and {LAG_MS_MAX:.0f} ms are allowed."
        )


def _little(scenario: Scenario, steady: Observation, shape: Shape | None) -> Iterator[str]:
    off = steady.rate_residual
    if off is None or math.isinf(off):
        return
    spread = 0.0
    if shape is None or shape.model == "closed":
        spread = _spread(scenario.think, [request.d for request in steady.requests if request.d is not None])
    requests = steady.total.requests
    # The rate of a window is known to a request at each end, and to what random pauses do to it in between. Users who come
    # or go in the middle of it are half a pause away from their first request, or from one they do not make any more.
    changes = (
        0 if shape is None or not spread else sum(abs(two.target - one.target) for one, two in pairwise(shape.stages))
    )
    allowed = max(LITTLE, LITTLE_DEVIATIONS * spread / math.sqrt(requests), 2 / requests) + changes / 2 / requests
    if abs(off) > allowed:
        what = "Little's law does not close" if spread else "The rate is not what it was meant to be"
        yield (
            f"{what}: {steady.total.rate:.1f} requests a second were made where {steady.expected_rate:.1f} "
            f"were expected, which is off by {abs(off):.0%}."
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
