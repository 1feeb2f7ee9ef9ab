"""The few things a rule may ask of the metrics. Each is a value over a ring of samples, and the same in PromQL.

    gauge      max, min or sum of a gauge's series          rate      of a counter, a second, over a window
    age        how long ago the oldest of its instants was  increase  of a counter over a window
    absent     1 while there is no such series              ratio     of two counters' rates
                                                            quantile  of a histogram over a window

None is what Prometheus calls an empty result: nothing is known, and no comparison holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Final, Literal

import msgspec

from system.alerts import durations
from system.alerts.ring import Labels, Ring, increase, quantile

Name = Annotated[str, msgspec.Meta(pattern=r"^gymkhana_[a-z_]+$")]
Matchers = dict[str, str]
"""Labels and what they must be: a value, or `!=value`, `=~pattern`, `!~pattern`, which match the whole of it."""

_OPERATORS: Final = ("=~", "!~", "!=")
_OVER: Final[Mapping[str, Callable[[list[float]], float]]] = {"max": max, "min": min, "sum": sum}


class Gauge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="gauge", tag_field="kind"):
    """What it is now, over all of its series."""

    metric: Name
    labels: Matchers = {}
    over: Literal["max", "min", "sum"] = "max"

    def value(self, ring: Ring, _now: float) -> float | None:
        values = _now_of(ring, self.metric, self.labels)
        return _OVER[self.over](values) if values else None

    def promql(self) -> str:
        return f"{self.over}({selector(self.metric, self.labels)})"

    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)


class Age(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="age", tag_field="kind"):
    """Seconds since the oldest of the instants that the gauge tells. It grows when nobody is left to tell them."""

    metric: Name
    labels: Matchers = {}

    def value(self, ring: Ring, now: float) -> float | None:
        values = _now_of(ring, self.metric, self.labels)
        return now - min(values) if values else None

    def promql(self) -> str:
        return f"time() - min({selector(self.metric, self.labels)})"

    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)


class Absent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="absent", tag_field="kind"):
    """1 while there is no such series: what only somebody else can see of a service that is gone."""

    metric: Name
    labels: Matchers = {}

    def value(self, ring: Ring, _now: float) -> float | None:
        return None if _now_of(ring, self.metric, self.labels) else 1.0

    def promql(self) -> str:
        return f"absent({selector(self.metric, self.labels)})"

    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rate", tag_field="kind"):
    """By how much the counter grows in a second."""

    metric: Name
    window: str
    labels: Matchers = {}

    def value(self, ring: Ring, now: float) -> float | None:
        return _rate(ring, now, self.metric, self.labels, self.window)

    def promql(self) -> str:
        return f"sum(rate({selector(self.metric, self.labels)}[{durations.promql(self.window)}]))"

    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)


class Increase(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="increase", tag_field="kind"):
    """By how much the counter grew in the window."""

    metric: Name
    window: str
    labels: Matchers = {}

    def value(self, ring: Ring, now: float) -> float | None:
        rate = _rate(ring, now, self.metric, self.labels, self.window)
        return None if rate is None else rate * durations.seconds(self.window)

    def promql(self) -> str:
        return f"sum(increase({selector(self.metric, self.labels)}[{durations.promql(self.window)}]))"

    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)


class Ratio(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ratio", tag_field="kind"):
    """One counter's rate as a share of another's; NaN, which is above nothing, while neither grows."""

    metric: Name
    of: Name
    window: str
    labels: Matchers = {}
    of_labels: Matchers = {}

    def value(self, ring: Ring, now: float) -> float | None:
        part = _rate(ring, now, self.metric, self.labels, self.window)
        whole = _rate(ring, now, self.of, self.of_labels, self.window)
        if part is None or whole is None:
            return None
        return part / whole if whole else float("inf" if part else "nan")

    def promql(self) -> str:
        window = durations.promql(self.window)
        part, whole = selector(self.metric, self.labels), selector(self.of, self.of_labels)
        return f"sum(rate({part}[{window}])) / sum(rate({whole}[{window}]))"

    def metrics(self) -> tuple[str, ...]:
        return (self.metric, self.of)


class Quantile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="quantile", tag_field="kind"):
    """That quantile of what a histogram observed in the window."""

    metric: Name
    quantile: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    window: str
    labels: Matchers = {}

    def value(self, ring: Ring, now: float) -> float | None:
        since = now - durations.seconds(self.window)
        buckets: dict[float, float] = {}
        for span in ring.spans(f"{self.metric}_bucket", since, now):
            known = dict(span.labels)
            grown = increase(span, since, now) if fits(known, self.labels) else None
            if grown is not None:
                bound = float(known["le"])
                buckets[bound] = buckets.get(bound, 0.0) + grown
        return quantile(self.quantile, buckets) if buckets else None

    def promql(self) -> str:
        window = durations.promql(self.window)
        rate = f"rate({selector(f'{self.metric}_bucket', self.labels)}[{window}])"
        return f"histogram_quantile({self.quantile:g}, sum by (le) ({rate}))"

    def metrics(self) -> tuple[str, ...]:
        return (f"{self.metric}_bucket",)


Expression = Gauge | Age | Absent | Rate | Increase | Ratio | Quantile


def window_s(expression: Expression) -> float:
    """How far back it looks. Raises ValueError when its window is no duration."""
    window = getattr(expression, "window", None)
    return durations.seconds(window) if window else 0.0


def matchers_of(expression: Expression) -> tuple[Matchers, ...]:
    """What it asks of labels."""
    return (expression.labels, expression.of_labels) if isinstance(expression, Ratio) else (expression.labels,)


def fits(labels: Mapping[str, str], matchers: Mapping[str, str]) -> bool:
    """Whether the labels are as the matchers want them; a label that is not there is empty."""
    return all(_fits(labels.get(label, ""), wanted) for label, wanted in matchers.items())


def selector(metric: str, matchers: Mapping[str, str]) -> str:
    """The series in PromQL."""
    if not matchers:
        return metric
    told = ",".join(f"{label}{operator}{json.dumps(value)}" for label, (operator, value) in _split_all(matchers))
    return f"{metric}{{{told}}}"


def check_matchers(matchers: Mapping[str, str]) -> None:
    """Raises ValueError for a pattern that is none."""
    for label, (operator, value) in _split_all(matchers):
        if "~" in operator:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"{value!r}, which {label} is to match, is no pattern: {error}") from error


def _split_all(matchers: Mapping[str, str]) -> list[tuple[str, tuple[str, str]]]:
    return [(label, _split(wanted)) for label, wanted in matchers.items()]


@cache
def _split(wanted: str) -> tuple[str, str]:
    for operator in _OPERATORS:
        if wanted.startswith(operator):
            return operator, wanted.removeprefix(operator)
    return "=", wanted


def _fits(value: str, wanted: str) -> bool:
    operator, told = _split(wanted)
    same = re.fullmatch(told, value) is not None if "~" in operator else value == told
    return same != operator.startswith("!")


def _now_of(ring: Ring, metric: str, matchers: Matchers) -> list[float]:
    found: Mapping[Labels, float] = ring.newest(metric)
    return [value for labels, value in found.items() if fits(dict(labels), matchers)]


def _rate(ring: Ring, now: float, metric: str, matchers: Matchers, window: str) -> float | None:
    length_s = durations.seconds(window)
    since = now - length_s
    grown = [
        one
        for span in ring.spans(metric, since, now)
        if fits(dict(span.labels), matchers) and (one := increase(span, since, now)) is not None
    ]
    return sum(grown) / length_s if grown else None
