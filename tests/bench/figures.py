"""What a benchmark measured, beside what was hoped for: rows, as a file and as a table.

A goal that is missed is shown and fails nothing: a busy machine misses goals, and a benchmark is there to be read.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: the median of `samples`, in `unit`, and whether it `met` its `goal` (`<= 2`, `>= 3`, or none)."""

    name: str
    value: float
    unit: str
    goal: str
    met: bool
    samples: tuple[float, ...]


def plain(name: str, samples: Sequence[float], unit: str) -> Row:
    """A figure that nobody set a goal for."""
    return Row(name, statistics.median(samples), unit, "", True, tuple(samples))


def at_most(name: str, samples: Sequence[float], unit: str, goal: float) -> Row:
    """A figure that is better when smaller."""
    value = statistics.median(samples)
    return Row(name, value, unit, f"<= {goal:g}", value <= goal, tuple(samples))


def at_least(name: str, samples: Sequence[float], unit: str, goal: float) -> Row:
    """A figure that is better when larger."""
    value = statistics.median(samples)
    return Row(name, value, unit, f">= {goal:g}", value >= goal, tuple(samples))


def write(directory: Path, name: str, rows: Sequence[Row], **about: object) -> Path:
    """The rows, and what else is to be known about them, stand in `directory`/`name`.json, whole or not at all."""
    path = directory / f"{name}.json"
    partial = path.with_suffix(".partial")
    document = {"name": name, **about, "rows": [asdict(row) for row in rows]}
    partial.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return partial.replace(path)


def table(found: dict[str, list[Row]]) -> list[str]:
    """The lines of a table of every row."""
    cells = [("benchmark", "figure", "median", "unit", "goal", "met", "samples")]
    for name, rows in found.items():
        for row in rows:
            met = ("yes" if row.met else "no") if row.goal else ""
            cells.append((name, row.name, _short(row.value), row.unit, row.goal, met, str(len(row.samples))))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
