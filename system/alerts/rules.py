"""The rules: `rules.json`, read once and checked whole. What is asked of the metrics, how bad it is, what to do about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from system.alerts import durations
from system.alerts.expressions import Expression, check_matchers, matchers_of, window_s

OWN: Final = Path(__file__).with_name("rules.json")
SEVERITIES: Final = ("critical", "warning")
Severity = Literal["critical", "warning"]


class RulesRefused(Exception):
    """The rules cannot be used: where, and what is wrong with them."""

    exit_code = 2


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"lasting": "for"}):
    """One rule. It fires once its value has been `above`, or `below`, that bound for as long as `for` says."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Za-z]+$")]
    severity: Severity
    expression: Expression
    summary: str
    what_to_do: str
    runbook: str
    unit: Literal["", "s", "B", "%"] = ""
    above: float | None = None
    below: float | None = None
    lasting: str = "0s"

    @property
    def lasting_s(self) -> float:
        """How long the condition must hold."""
        return durations.seconds(self.lasting)

    def holds(self, value: float | None) -> bool:
        """Whether the condition holds of that value; never of what is not known."""
        if value is None or math.isnan(value):
            return False
        return value > self.above if self.above is not None else value < (self.below or 0.0)

    def promql(self) -> str:
        """The condition in PromQL."""
        operator, bound = (">", self.above) if self.above is not None else ("<", self.below)
        return f"{self.expression.promql()} {operator} {bound:.12g}"

    def told(self, value: float | None) -> str:
        """The value as people read it."""
        if value is None or math.isnan(value):
            return "unknown"
        if self.unit == "%":
            return f"{100 * value:.3g} %"
        if self.unit == "B":
            return f"{value / 2**20:.0f} MiB"
        if self.unit == "s":
            return durations.words(value) if value >= 1 else f"{1000 * value:.3g} ms"
        return f"{value:.3g}"


def read(path: Path = OWN) -> tuple[Rule, ...]:
    """The rules of that file. Raises RulesRefused with the first thing that is wrong."""
    try:
        rules = msgspec.json.decode(path.read_bytes(), type=tuple[Rule, ...])
    except OSError as error:
        raise RulesRefused(f"The rules in {path} cannot be read: {error.strerror}.") from error
    except msgspec.MsgspecError as error:
        raise RulesRefused(f"The rules in {path} are not right: {error}.") from error
    for rule in rules:
        if wrong := _wrong(rule):
            raise RulesRefused(f"The rule {rule.name} in {path} is not right: {wrong}.")
    names = [rule.name for rule in rules]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise RulesRefused(f"There are two rules {twice} in {path}; a name is one alert's.")
    return rules


def horizon_s(rules: Sequence[Rule]) -> float:
    """How far back the rules look."""
    return max((window_s(rule.expression) for rule in rules), default=0.0)


def metrics_of(rules: Sequence[Rule]) -> frozenset[str]:
    """The names of all samples that the rules look at."""
    return frozenset(name for rule in rules for name in rule.expression.metrics())


def _wrong(rule: Rule) -> str:
    if (rule.above is None) == (rule.below is None):
        return "say either above or below"
    try:
        durations.seconds(rule.lasting)
        window_s(rule.expression)
        for matchers in matchers_of(rule.expression):
            check_matchers(matchers)
    except ValueError as error:
        return str(error)
    return ""
