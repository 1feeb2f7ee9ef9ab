"""The verdict on one load: pass, fail, or *unknown* when the run could not measure what it set out to measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.generator import SATURATED_CORES, GeneratorSample, mean_cores
from loadtests.history import History
from loadtests.measure import Observation, observe, steady_window
from loadtests.scenario import Scenario
from loadtests.service_levels import Judged, Result, judge


@dataclass(frozen=True, slots=True)
class Assessment:
    """How a load went. `doubts` are the reasons, one sentence each, why its figures cannot be trusted.

    `steady` is the stretch with all users up, after a first pause of each; `whole` is everything from the first user on.
    """

    verdict: Result
    doubts: tuple[str, ...]
    levels: tuple[Judged, ...]
    steady: Observation
    whole: Observation
    generator_cores: float | None


def assess(history: History, scenario: Scenario, samples: Sequence[GeneratorSample] = ()) -> Assessment:
    """Judges the load that left this history and these samples of its generator."""
    window = steady_window(history, settle_s=scenario.think.max_s)
    whole = observe(history, scenario)
    steady = whole if window is None else observe(history, scenario, window)
    cores = mean_cores(samples, steady.window.begin, steady.window.end)
    doubts = tuple(_doubts(history, whole, steady=window is not None, cores=cores))
    levels = judge(scenario.levels, steady, whole, samples_min=scenario.samples_min)
    return Assessment(_verdict(doubts, levels), doubts, levels, steady, whole, cores)


def _doubts(history: History, whole: Observation, *, steady: bool, cores: float | None) -> list[str]:
    if not whole.total.requests:
        return ["Nothing was sent."]
    doubts = []
    if history.cut_short:
        doubts.append(f"The ledger was cut short: {history.cut_short}.")
    if not steady:
        doubts.append("The load ended before all users were up and settled.")
    if cores is not None and cores > SATURATED_CORES:
        doubts.append(f"The load generator was the bottleneck: it used {cores:.2f} cores.")
    return doubts


def _verdict(doubts: Sequence[str], levels: Sequence[Judged]) -> Result:
    results = {level.result for level in levels}
    if doubts:
        return "unknown"
    return "fail" if "fail" in results else "unknown" if "unknown" in results else "pass"
