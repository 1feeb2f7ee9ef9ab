"""The page of one load: what users felt and what went on inside, on one time axis, from the raw files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from markupsafe import Markup

from ci import charts, measure, report
from ci.panels import Panel, panels
from ci.record import Criterion, Mark, Result, Series
from loadtests.assessment import Assessment
from loadtests.generator import GeneratorSample
from loadtests.history import History
from loadtests.scenario import Scenario


@dataclass(frozen=True, slots=True)
class LoadRun:
    """One load as its page tells it. Seconds count from `origin`, when its ledger began; `began` is that in UTC."""

    id: str
    tool: str
    users: int
    seed: int
    command: str
    began: str
    scenario: Scenario
    verdict: Result
    assessment: Assessment
    accounts: tuple[Criterion, ...]
    series: Series
    marks: tuple[Mark, ...]
    duration_s: float
    origin: float
    rto: None = None


@dataclass(frozen=True, slots=True)
class View:
    """The drawings of the page."""

    axis: charts.Axis
    baseline: list[charts.Band]
    bands: Markup
    ribbon: Markup
    ticks: Markup
    panels: tuple[Panel, ...]
    fault_s: float | None = None


def fold(
    history: History,
    scenario: Scenario,
    assessment: Assessment,
    samples: Sequence[measure.Sample],
    generator: Sequence[GeneratorSample],
) -> tuple[float, Series, tuple[Mark, ...]]:
    """Where the load's time begins, its series by the second, and what happened on the way."""
    whole, steady = assessment.whole.window, assessment.steady.window
    origin = min([*(clock.mono for clock in history.clocks), whole.begin])
    end = max([origin + 1.0, *(done.t + done.d for done in history.dones)])
    marks = [Mark(t=whole.begin - origin, name="load.begin", text="The first request is sent.")]
    if steady is not whole:
        marks += [
            Mark(t=steady.begin - origin, name="steady.begin", text="Every user is up and has paused once."),
            Mark(t=steady.end - origin, name="steady.end", text="The steady stretch ends."),
        ]
    return origin, measure.series(history, scenario, samples, origin, end, generator), tuple(marks)


def render(run: LoadRun) -> str:
    """The whole page as HTML that needs no network and no scripts."""
    return report.page("load.html", run=run, view=_view(run))


def write(run: LoadRun, path: Path) -> None:
    """`path` holds the page, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(render(run), encoding="utf-8")
    partial.replace(path)


def read_service(path: Path) -> list[measure.Sample]:
    """The samples of the service in the file; none without one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    return msgspec.json.Decoder(measure.Sample).decode_lines(data[: data.rfind(b"\n") + 1])


def _view(run: LoadRun) -> View:
    axis = charts.Axis(0.0, max(run.duration_s, 1.0))
    window = run.assessment.steady.window
    begin, end = window.begin - run.origin, window.end - run.origin
    steady = [charts.Band("baseline", begin, end, f"steady {window.seconds:.0f} s")] if window.seconds > 0 else []
    return View(
        axis=axis,
        baseline=steady,
        bands=charts.bands(axis, steady, []),
        ribbon=charts.ribbon(axis, steady, [], None, [mark.t for mark in run.marks]),
        ticks=charts.time_axis(axis),
        panels=panels(run.series, axis),
    )
