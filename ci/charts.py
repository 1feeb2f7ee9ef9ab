"""The report's charts as inline SVG: pure geometry, from numbers to markup.

Every drawing is as wide as its box. Across, positions are percentages; down, they are pixels; lines live in a nested
drawing that is stretched to the box. So text keeps its size on a phone, on a wide screen and on paper, and no script
has to measure anything. Colours are classes, so that one style sheet serves light, dark and print.

A value that was not measured leaves a gap in its line: no chart ever draws null as 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from markupsafe import Markup

SPAN = 1000
"""Width of the stretched drawing in its own units; its height is 100."""

TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
LOG_FROM_RATIO = 20.0
"""A scale turns logarithmic when its highest value is this many times its middle one: a linear one would lie flat."""

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Axis:
    """The run's time, in seconds, that all charts of a page share."""

    begin_s: float
    end_s: float

    def at(self, t: float) -> float:
        """Where `t` lies, in percent of the width, held within the drawing."""
        span = self.end_s - self.begin_s
        return 0.0 if span <= 0 else min(100.0, max(0.0, 100.0 * (t - self.begin_s) / span))

    def ticks(self) -> list[float]:
        """Round instants, at most eleven."""
        span = self.end_s - self.begin_s
        step = next((s for s in TICK_STEPS_S if span / s <= 10), TICK_STEPS_S[-1])
        first = math.ceil(self.begin_s / step)
        return [float(n * step) for n in range(first, math.floor(self.end_s / step) + 1)]


@dataclass(frozen=True, slots=True)
class Scale:
    """A value axis from `low` to `high`, linear from zero or logarithmic."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Height of `value` between 0 (bottom) and 1 (top)."""
        if self.log:
            low, high, value = math.log10(self.low), math.log10(self.high), math.log10(max(value, self.low))
        else:
            low, high = self.low, self.high
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def ticks(self) -> list[float]:
        """A few round values: the foot and the decades of a logarithmic scale, up to five steps of a linear one."""
        if self.log:
            first, last = math.floor(math.log10(self.low) + 1e-9) + 1, math.floor(math.log10(self.high) + 1e-9)
            return [self.low, *(10.0**n for n in range(first, last + 1))]
        step = _round_up((self.high - self.low) / 4)
        return [self.low + n * step for n in range(math.floor((self.high - self.low) / step + 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class Line:
    """One series in a plot. `style` is its class in the style sheet; `area` fills below, `bars` draws columns."""

    style: str
    values: Values
    form: Literal["line", "area", "bars"] = "line"


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time shaded behind the charts: the baseline, or one phase of the recovery."""

    style: str
    begin_s: float
    end_s: float
    label: str = ""


def scale_for(*series: Values) -> Scale:
    """The scale that shows these values best: linear from zero, unless the highest would flatten all the others."""
    seen = [v for values in series for v in values if v is not None and math.isfinite(v)]
    positive = [v for v in seen if v > 0]
    if positive and len(positive) == len(seen) and max(positive) / median(positive) >= LOG_FROM_RATIO:
        high = _round_up(max(positive))
        return Scale(max(_round_down(min(positive)), high / 1e6), high, log=True)
    top = max(seen, default=0.0)
    step = _round_up(top / 4) if top > 1e-9 else 1.0
    return Scale(0.0, step * max(1, math.ceil(top / step - 1e-9)))


def plot(axis: Axis, t: Sequence[float], lines: Sequence[Line], height: int, label: str) -> Markup:
    """One chart: its grid, the values at the left, and the lines. `label` is what a screen reader says."""
    scale = scale_for(*(line.values for line in lines))
    return _drawing("plot", height, [*_grid(scale, height), *_lines(axis, scale, t, lines, height)], label)


def bands(axis: Axis, shaded: Iterable[Band], faults: Iterable[float]) -> Markup:
    """The backdrop of the stacked charts: shaded stretches and a line for each fault, over the full height of the box."""
    parts = [_rect(f"band {b.style}", axis.at(b.begin_s), axis.at(b.end_s), 34, "100%") for b in shaded]
    for x in (_n(axis.at(t)) for t in faults):
        parts.append(f'<line class="fault" x1="{x}%" x2="{x}%" y1="2" y2="100%"/>')
    return _drawing("bands", "100%", parts, None)


def ribbon(
    axis: Axis, windows: Iterable[Band], phases: Iterable[Band], fault: tuple[float, str] | None, marks: Sequence[float]
) -> Markup:
    """The strip above the charts: the fault's flag, named windows, coloured phases, and the numbered marks.

    Marks too close together for a disc each keep their number in the list below the charts alone.
    """
    parts: list[str] = []
    if fault is not None:
        parts.append(_flag(axis.at(fault[0]), 11, "flag", fault[1]))
    for window in windows:
        left, right = axis.at(window.begin_s), axis.at(window.end_s)
        parts.append(_rect(f"strip {window.style}", left, right, 34, 8))
        # A name stands at its window's beginning, so that two windows side by side keep their names apart.
        parts.append(_flag(left, 29, f"window {window.style}", window.label, left_from=85))
    for phase in phases:
        parts.append(_rect(f"strip {phase.style}", axis.at(phase.begin_s), axis.at(phase.end_s), 34, 8))
    positions = [axis.at(t) for t in marks]
    rows = lanes(positions)
    for number, (x, row) in enumerate(zip(positions, rows, strict=True), 1):
        if row is None:
            continue
        y = 56 + 19 * row
        parts.append(f'<circle class="mark" cx="{_n(x)}%" cy="{y}" r="8"/>')
        parts.append(f'<text class="mark" x="{_n(x)}%" y="{y + 3.5}" text-anchor="middle">{number}</text>')
    height = 50 + 19 * (max((row for row in rows if row is not None), default=-1) + 1)
    return _drawing("ribbon", height, parts, None)


def time_axis(axis: Axis) -> Markup:
    """The instants below the stacked charts. Every second one steps aside on a narrow screen."""
    parts = []
    for n, t in enumerate(axis.ticks()):
        x, style = _n(axis.at(t)), "tick odd" if n % 2 else "tick"
        parts.append(f'<line class="tick" x1="{x}%" x2="{x}%" y1="0" y2="5"/>')
        parts.append(f'<text class="{style}" x="{x}%" y="18" text-anchor="middle">{_instant(t)}</text>')
    return _drawing("axis", 22, parts, None)


def phase_bar(phases: Sequence[Band], span_s: float, height: int, label: str, named: bool = True) -> Markup:
    """A recovery as one bar of `span_s`, its phases end to end; what no phase explains stays grey.

    `named` writes a phase's name inside it where its share leaves room; the table beside the bar names them all.
    """
    begin = min(p.begin_s for p in phases)
    axis = Axis(begin, begin + span_s)
    parts = [_rect("unexplained", 0.0, axis.at(max(p.end_s for p in phases)), 0, height)]
    for phase in phases:
        left, right = axis.at(phase.begin_s), axis.at(phase.end_s)
        parts.append(_rect(f"phase {phase.style}", left, right, 0, height))
        share = right - left
        if named and share >= 9:
            room = "wide" if share < 22 else "any"
            x, y = _n((left + right) / 2), height / 2 + 4
            parts.append(f'<text class="in {room}" x="{x}%" y="{y}" text-anchor="middle">{_e(phase.label)}</text>')
    return _drawing("phases", height, parts, label)


def loss_line(
    axis: Axis, backups: Sequence[tuple[float, str]], lost: Band | None, fault: tuple[float, str] | None, label: str
) -> Markup:
    """Backups along the run as numbered discs of their fate, the fault, and the stretch whose writes are gone."""
    parts = ['<line class="track" x1="0" x2="100%" y1="34" y2="34"/>']
    if lost is not None:
        parts.append(_rect("lost", axis.at(lost.begin_s), axis.at(lost.end_s), 24, 20))
        parts.append(_flag(axis.at(lost.end_s), 62, "lost", lost.label, left_from=25))
    if fault is not None:
        at = axis.at(fault[0])
        parts.append(f'<line class="fault" x1="{_n(at)}%" x2="{_n(at)}%" y1="15" y2="50"/>')
        parts.append(_flag(at, 11, "flag", fault[1]))
    for number, (t, fate) in enumerate(backups, 1):
        x = _n(axis.at(t))
        parts.append(f'<circle class="backup {_e(fate)}" cx="{x}%" cy="34" r="9"/>')
        parts.append(f'<text class="backup {_e(fate)}" x="{x}%" y="38" text-anchor="middle">{number}</text>')
    return _drawing("loss", 68, parts, label)


def lanes(positions: Sequence[float], apart: float = 2.6, most: int = 4) -> list[int | None]:
    """The row for each of these positions (percent, rising) so that no disc covers another; None where none is free."""
    ends = [-math.inf] * most
    rows: list[int | None] = []
    for x in positions:
        row = next((n for n, end in enumerate(ends) if x - end >= apart), None)
        if row is not None:
            ends[row] = x
        rows.append(row)
    return rows


def stretches(points: Iterable[tuple[float, float | None]]) -> Iterator[list[tuple[float, float]]]:
    """The unbroken stretches of a series: it is cut wherever a value is missing."""
    stretch: list[tuple[float, float]] = []
    for x, y in points:
        if y is not None and math.isfinite(y):
            stretch.append((x, y))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _grid(scale: Scale, height: int) -> Iterator[str]:
    for tick in scale.ticks():
        y = _n(height * (1 - scale.at(tick)))
        yield f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>'
        yield f'<text class="value" x="-8" y="{y}" dy="3.5" text-anchor="end">{tick:,.10g}</text>'


def _lines(axis: Axis, scale: Scale, t: Sequence[float], lines: Sequence[Line], height: int) -> Iterator[str]:
    """Each row stands for the step that follows `t`: a point is drawn at its middle, a column over its whole width."""
    step = median([b - a for a, b in pairwise(t)]) if len(t) > 1 else 1.0
    yield f'<svg class="lines" viewBox="0 0 {SPAN} 100" preserveAspectRatio="none" width="100%" height="{height}">'
    for line in sorted(lines, key=lambda line: line.form != "bars"):
        if line.form == "bars":
            columns = (
                f"M{_x(axis, at)} 100V{_y(scale, value)}H{_x(axis, at + step)}V100Z"
                for at, value in zip(t, line.values, strict=True)
                if value
            )
            yield f'<path class="bars {line.style}" d="{"".join(columns)}"/>'
            continue
        middles = [(at + step / 2, value) for at, value in zip(t, line.values, strict=True)]
        runs = list(stretches(middles))
        if line.form == "area":
            areas = (
                f"M{_x(axis, run[0][0])} 100L{_points(axis, scale, run)}L{_x(axis, run[-1][0])} 100Z" for run in runs
            )
            yield f'<path class="area {line.style}" d="{"".join(areas)}"/>'
        path = "".join(f"M{_points(axis, scale, run)}" + ("h0" if len(run) == 1 else "") for run in runs)
        yield f'<path class="line {line.style}" d="{path}"/>'
    yield "</svg>"


def _points(axis: Axis, scale: Scale, run: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{_x(axis, at)},{_y(scale, value)}" for at, value in run)


def _x(axis: Axis, t: float) -> str:
    return _n(axis.at(t) * SPAN / 100, 1)


def _y(scale: Scale, value: float) -> str:
    return _n(100 * (1 - scale.at(value)), 1)


def _flag(x: float, y: int, style: str, text: str, left_from: float = 60) -> str:
    """A word beside an instant: to its right, or to its left from `left_from` percent on."""
    anchor, dx = ("end", -5) if x > left_from else ("start", 5)
    return f'<text class="{style}" x="{_n(x)}%" dx="{dx}" y="{y}" text-anchor="{anchor}">{_e(text)}</text>'


def _rect(style: str, left: float, right: float, y: int, height: int | str) -> str:
    width = max(right - left, 0.12)
    return f'<rect class="{style}" x="{_n(left)}%" y="{y}" width="{_n(width)}%" height="{height}"/>'


def _drawing(style: str, height: int | str, parts: Iterable[str], label: str | None) -> Markup:
    says = 'aria-hidden="true"' if label is None else f'role="img" aria-label="{_e(label)}"'
    return Markup(f'<svg class="chart {style}" width="100%" height="{height}" {says}>{"".join(parts)}</svg>')  # noqa: S704


def _e(text: str) -> str:
    return str(Markup.escape(text))


def _n(value: float, digits: int = 2) -> str:
    return f"{round(value, digits):g}" if abs(value) < 1e5 else f"{value:.0f}"


def _instant(t: float) -> str:
    return f"{t:.0f} s" if t < 600 else f"{int(t // 60)}:{int(t % 60):02d}"


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next((m * power for m in (1, 2, 2.5, 5) if value <= m * power * (1 + 1e-9)), 10 * power)


def _round_down(value: float) -> float:
    """The last of 1, 2, 5 times a power of ten that is not above `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(m * power for m in (1, 2, 5) if m * power <= value * (1 + 1e-9))
