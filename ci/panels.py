"""The charts along a run's time: from the columns of its record to panels of plots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Literal

from markupsafe import Markup

from ci import charts
from ci.figures import number
from ci.record import Series

TALL, LOW = 150, 76
"""Heights in pixels: of what users feel, and of what goes on inside."""

HUES = ("hue-1", "hue-2", "hue-3", "hue-4", "hue-5", "hue-6")
"""Styles of lines that stand for processes, in the order of their names."""


@dataclass(frozen=True, slots=True)
class Column:
    """One series of the run, as a line in a chart and as a column in the table behind it."""

    name: str
    unit: str
    style: str
    values: charts.Values
    form: Literal["line", "area", "bars"] = "line"

    @property
    def highest(self) -> float | None:
        """The largest value that was measured."""
        highest = max((v for v in self.values if v is not None), default=None)
        return int(highest) if highest is not None and float(highest).is_integer() else highest


@dataclass(frozen=True, slots=True)
class Plot:
    """One drawing with its legend; `drawing` is None when nothing in it was measured."""

    columns: tuple[Column, ...]
    drawing: Markup | None
    log: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """Plots that belong together, and the columns of the table behind them."""

    title: str
    plots: tuple[Plot, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every measured series of the panel."""
        return tuple(c for plot in self.plots for c in plot.columns if c.highest is not None)


def panels(series: Series, axis: charts.Axis) -> tuple[Panel, ...]:
    """Requests, latency, and the inside of the service. Of what older records do not hold, nothing is said."""
    s = series

    def plot(height: int, *columns: Column) -> Plot:
        measured = _measured(*columns)
        if not measured:
            return Plot(columns, None, log=False)
        lines = [charts.Line(c.style, c.values, c.form) for c in measured]
        says = "; ".join(f"{c.name}: highest {number(c.highest, c.unit)}" for c in measured)
        drawing = charts.plot(axis, s.t, lines, height, f"{says}. The table below holds every value.")
        return Plot(columns, drawing, charts.scale_for(*(c.values for c in measured)).log)

    requests = plot(
        TALL,
        Column("requests", "/s", "requests", s.requests, "area"),
        Column("errors", "/s", "errors", s.errors, "bars"),
    )
    shares = Column("error rate", "%", "errors", _error_rate(s), "bars")
    latency = plot(TALL, Column("p95", "ms", "p95", s.p95_ms), Column("p50", "ms", "p50", s.p50_ms))
    memory = plot(
        LOW,
        Column("memory", "MiB", "memory", s.memory_mib, "area"),
        *_of_processes("memory", "MiB", s.memory_by_process),
        *_measured(Column("generator memory", "MiB", "generator", s.generator_mib)),
    )
    database = plot(
        LOW,
        Column("database p95", "ms", "database", s.database_p95_ms),
        *_measured(Column("by Server-Timing", "ms", "timing", s.timing_p95_ms)),
    )
    cores = _measured(
        *_of_processes("CPU", "cores", s.cpu_by_process),
        Column("generator CPU", "cores", "generator", s.generator_cores),
    )
    queues = _measured(
        Column("queue depth", "jobs", "queue", s.queue_depth), Column("requests shed", "/s", "errors", s.shed, "bars")
    )
    inside = [memory, database]
    inside += [plot(LOW, *cores)] if cores else []
    inside += [plot(LOW, Column("open connections", "", "connections", s.connections))]
    inside += [plot(LOW, queue) for queue in queues]
    return (
        Panel("Requests and errors", (requests, *([plot(LOW, shares)] if any(s.errors) else []))),
        Panel("Latency of successes", (latency,)),
        Panel("Inside the service", tuple(inside)),
    )


def _measured(*columns: Column) -> tuple[Column, ...]:
    return tuple(column for column in columns if column.highest is not None)


def _of_processes(what: str, unit: str, by_process: Mapping[str, charts.Values]) -> Iterator[Column]:
    """A line for each process, told from the others by its hue."""
    for style, (name, values) in zip(cycle(HUES), by_process.items(), strict=False):
        yield Column(f"{name} {what}", unit, style, values)


def _error_rate(series: Series) -> charts.Values:
    """Errors in percent of the requests of each second; no value where there were none."""
    return [
        100 * errors / requests if requests else None
        for errors, requests in zip(series.errors, series.requests, strict=True)
    ]
