"""What a board is made of: figures, charts and tables, as plain values that a page, a stream and a machine are given alike.

Every text is ready to be shown: whoever draws a panel, a template or the script, formats nothing but a chart's axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

Mark = Literal["", "on", "wait", "off", "plain"]
"""How something stands: well, so that somebody should look, badly; or a word set apart that says none of that."""


class Cell(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands in one place of a table. With `post` it is a button that asks for that, shown to `least` and above."""

    text: str
    mark: Mark = ""
    href: str = ""
    note: str = ""
    post: str = ""
    least: str = ""


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column and what its cells are: that decides how they are set."""

    label: str
    kind: Literal["text", "number", "when", "id", "code", "name", "act"] = "text"


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One number that counts, with its unit in the text."""

    label: str
    text: str
    note: str = ""
    mark: Mark = ""


class Series(msgspec.Struct, frozen=True):
    """One line of a chart: a value, or None, for each of its instants."""

    label: str
    values: Sequence[float | None]


class Figures(msgspec.Struct, frozen=True, tag="figures", tag_field="kind"):
    """A row of figures."""

    id: str
    title: str
    items: Sequence[Figure]
    note: str = ""


class Chart(msgspec.Struct, frozen=True, tag="chart", tag_field="kind"):
    """Lines over time, at instants in whole seconds since the epoch; the same figures are a table behind it."""

    id: str
    title: str
    unit: str
    at: Sequence[int]
    series: Sequence[Series]
    note: str = ""


class Table(msgspec.Struct, frozen=True, tag="table", tag_field="kind"):
    """Rows, the most interesting first; `empty` is said when there are none, `older` leads to those that follow."""

    id: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    empty: str = "Nothing."
    note: str = ""
    older: str = ""


Panel = Figures | Chart | Table


class Document(msgspec.Struct, frozen=True):
    """A whole board as it was at `as_of_ms`. `missing` is a sentence when something could not be had."""

    board: str
    as_of_ms: int
    from_ms: int
    to_ms: int
    panels: Sequence[Panel]
    missing: str = ""


def when(ms: int | None) -> Cell:
    """An instant, in UTC."""
    return Cell("never", "") if ms is None else Cell(instant(ms))


def instant(ms: int) -> str:
    """The same as text."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def number(value: float | None, unit: str = "", digits: int | None = None) -> str:
    """A number with its thousands apart, as many digits as are worth reading, and its unit; a dash when there is none."""
    if value is None or math.isnan(value):
        return "–"
    if digits is None:
        digits = 0 if float(value).is_integer() or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}{' ' if unit else ''}{unit}"


def cells(values: Iterable[object]) -> list[Cell]:
    """A row of plain values: texts as they are, numbers as they are read."""
    return [one if isinstance(one, Cell) else Cell(_text(one)) for one in values]


def _text(value: object) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, int | float) else str(value)
