"""The scenario: who does what, how often, how fast, and what good enough is. Every load tool plays the same one.

These are the values a scenario file is parsed into, once, by `scenario_file.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

GYM_DAY = Path(__file__).with_name("scenarios") / "gym-day.json"
"""The scenario that ships: a day at the gym."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A piece of the file: frozen, and without room for a misspelt field."""


class Think(_Part, frozen=True):
    """The pause between two steps of a user, uniform between its ends, in seconds."""

    min_s: float
    max_s: float

    @property
    def mean_s(self) -> float:
        """The mean pause."""
        return (self.min_s + self.max_s) / 2


class Load(_Part, frozen=True):
    """How many users, how many of them arrive per second, and how long all stay, in seconds (0: until stopped)."""

    users: int
    ramp_per_s: float
    seconds: float


class Learn(_Part, frozen=True):
    """What a successful answer teaches: from each item of the list `at` that matches `where`, `id` goes `into` a bag.

    A value of `where` may be `{me}`, the player's own id.
    """

    at: str
    into: str
    where: dict[str, int | str | bool] = {}
    id: str = "id"


class Flow(_Part, frozen=True):
    """One thing a user does: a request, how often it is chosen, and which statuses are an expected answer.

    `takes` names a bag an id is taken from before the request; with the bag empty the flow `otherwise` is played instead.
    When the request is acknowledged, the id moves to the bag `keeps`, if there is one; when it is certain or likely that
    nothing happened, it goes back.
    """

    name: str
    weight: float
    method: str
    path: str
    body: dict[str, Any] | None = None
    write: bool = False
    expect: tuple[int, ...] = (200,)
    takes: str | None = None
    keeps: str | None = None
    otherwise: str | None = None
    learns: tuple[Learn, ...] = ()


class LatencyLevel(_Part, frozen=True, tag_field="measure", tag="latency"):
    """A percentile of the expected answers, failures charged as infinite, is at most `gate_ms`. `aim_ms` is only printed."""

    percentile: float
    gate_ms: float
    aim_ms: float | None = None
    flow: str | None = None


class ErrorLevel(_Part, frozen=True, tag_field="measure", tag="errors"):
    """At most this share of all requests ends in anything but an expected answer."""

    gate_share: float
    flow: str | None = None


class RateLevel(_Part, frozen=True, tag_field="measure", tag="rate"):
    """The achieved rate is within this share of what users, think time and latency imply (Little's law)."""

    gate_share: float


Level = LatencyLevel | ErrorLevel | RateLevel


class Scenario(_Part, frozen=True):
    """A whole scenario, as it stands in its file."""

    name: str
    seed: int
    timeout_s: float
    think: Think
    load: Load
    flows: tuple[Flow, ...]
    levels: tuple[Level, ...]
    samples_min: int

    def flow(self, name: str) -> Flow | None:
        """The flow called `name`, or None."""
        return next((flow for flow in self.flows if flow.name == name), None)
