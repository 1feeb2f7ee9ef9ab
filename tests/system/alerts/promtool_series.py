"""The series of a promtool unit-test file, read as promtool reads them, so that other code can be shown the very same."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from system.alerts import durations
from system.alerts.ring import Reading

_SERIES = re.compile(r"(?P<name>\w+)(?:{(?P<labels>.*)})?")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_STEPS = re.compile(r"(?P<first>-?[\d.]+)(?:(?P<step>[+-][\d.]+)x(?P<times>\d+))?|_x(?P<blanks>\d+)")
_FIRING = re.compile(r'count\(ALERTS{alertname="(\w+)",alertstate="firing"}\)')
_VALUE = re.compile(r"round\((?P<expression>.*), (?P<to>[\d.e-]+)\)")


@dataclass(frozen=True, slots=True)
class Expected:
    """What is to be at an instant: whether the alert fires, or a value of that expression, rounded."""

    at_s: float
    firing: str = ""
    expression: str = ""
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """One test of the file: readings at each interval, and what is to come of them."""

    name: str
    interval_s: float
    readings: tuple[tuple[Reading, ...], ...]
    expected: tuple[Expected, ...]


def stories(path: Path) -> list[Story]:
    """Every test of the file."""
    return [_story(one) for one in YAML(typ="safe", pure=True).load(path)["tests"]]


def _story(told: dict[str, Any]) -> Story:
    columns = []
    for series in told["input_series"]:
        found = _SERIES.fullmatch(series["series"])
        assert found is not None, series
        labels = dict(_LABEL.findall(found["labels"] or ""))
        columns.append([(found["name"], labels, value) for value in _values(series["values"])])
    rows = [
        tuple((name, labels, value) for name, labels, value in row if value is not None)
        for row in itertools.zip_longest(*columns, fillvalue=("", {}, None))
    ]
    expected = tuple(_expected(one) for one in told["promql_expr_test"])
    return Story(told["name"], durations.seconds(told["interval"]), tuple(rows), expected)


def _values(text: str) -> Iterator[float | None]:
    for word in text.split():
        if word in ("_", "stale"):
            yield None
            continue
        found = _STEPS.fullmatch(word)
        assert found is not None, word
        if found["blanks"]:
            yield from itertools.repeat(None, int(found["blanks"]))
            continue
        first, step = float(found["first"]), float(found["step"] or 0)
        yield from (first + number * step for number in range(int(found["times"] or 0) + 1))


def _expected(told: dict[str, Any]) -> Expected:
    at_s = durations.seconds(told["eval_time"])
    samples = told.get("exp_samples") or []
    value = float(samples[0]["value"]) if samples else None
    if alert := _FIRING.fullmatch(told["expr"]):
        return Expected(at_s, firing=alert[1], value=value)
    found = _VALUE.fullmatch(told["expr"])
    assert found is not None, told["expr"]
    return Expected(at_s, expression=found["expression"], value=value)
