"""The verdict on one load: pass, fail, or *unknown* when the run could not measure what it set out to measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.generator import GeneratorSample, mean_cores
from loadtests.history import History
from loadtests.measure import Observation, observe, shaped_window, steady_window
from loadtests.omission import Omission, look
from loadtests.scenario import Scenario
from loadtests.service_levels import Judged, Result, judge
from loadtests.shape import Shape
from loadtests.validity import doubts_of


@dataclass(frozen=True, slots=True)
class Assessment:
    """How a load went. `doubts` are the reasons, one sentence each, why its figures cannot be trusted.

    `steady` is the stretch with all users up, after a first pause of each, or what comes after the ramp of a shape; `whole`
    is everything from the first user on. `stopped` is why the load was ended early, empty when it was not.
    """

    verdict: Result
    doubts: tuple[str, ...]
    levels: tuple[Judged, ...]
    steady: Observation
    whole: Observation
    generator_cores: float | None
    omission: Omission
    stopped: str = ""


def assess(
    history: History,
    scenario: Scenario,
    samples: Sequence[GeneratorSample] = (),
    shape: Shape | None = None,
    stopped: str = "",
    length_s: float | None = None,
) -> Assessment:
    """Judges the load that left this history and these samples of its generator.

    It should have lasted `length_s` from its first user on. A load that was `stopped` because a level could not be met any
    more has failed, however little else it can tell.
    """
    settle_s = scenario.think.max_s if shape is None or shape.model == "closed" else 0.0
    window = steady_window(history, settle_s) if shape is None else shaped_window(history, shape, settle_s)
    whole = observe(history, scenario)
    steady = whole if window is None else observe(history, scenario, window, shape)
    cores = mean_cores(samples, steady.window.begin, steady.window.end)
    doubts = doubts_of(
        history, scenario, samples, steady, whole, shape=shape, length_s=length_s, settled=window is not None
    )
    levels = judge(scenario.levels, steady, whole, samples_min=scenario.samples_min)
    verdict = "fail" if stopped else _verdict(doubts, levels)
    return Assessment(verdict, doubts, levels, steady, whole, cores, look(history, scenario, steady), stopped)


def _verdict(doubts: Sequence[str], levels: Sequence[Judged]) -> Result:
    results = {level.result for level in levels}
    if doubts:
        return "unknown"
    return "fail" if "fail" in results else "unknown" if "unknown" in results else "pass"
