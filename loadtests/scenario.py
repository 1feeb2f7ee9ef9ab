"""The scenario: who does what, how often, how fast, and what good enough is. Every load tool plays the same one.

These are the values a scenario file is parsed into, once, by `scenario_file.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from loadtests import template
from loadtests.errors import PlanError
from loadtests.shape import Model, Shape, Stage

GYM_DAY = Path(__file__).with_name("scenarios") / "gym-day.json"
"""The scenario that ships: a day at the gym."""


PREFILLED = ("matches", "tournaments")
"""Bags that start full: the player's own matches, and the open tournaments they could enter."""


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


class LatencyLevel(_Part, frozen=True, tag_field="measure", tag="latency"):
    """A percentile of the expected answers, failures charged as infinite, is at most `gate_ms`. `aim_ms` is only printed.

    It is held to the whole measured stretch, or to its seconds `from_s` to `to_s`.
    """

    percentile: float
    gate_ms: float
    aim_ms: float | None = None
    flow: str | None = None
    from_s: float | None = None
    to_s: float | None = None


class ErrorLevel(_Part, frozen=True, tag_field="measure", tag="errors"):
    """At most this share of all requests ends in anything but an expected answer.

    It is held to everything that was sent, the ramp included, or to the seconds `from_s` to `to_s` of the measured stretch.
    """

    gate_share: float
    flow: str | None = None
    from_s: float | None = None
    to_s: float | None = None


class RateLevel(_Part, frozen=True, tag_field="measure", tag="rate"):
    """The achieved rate is within this share of what users, think time and latency imply (Little's law)."""

    gate_share: float


Level = LatencyLevel | ErrorLevel | RateLevel


class Profile(_Part, frozen=True):
    """A load by name: the stages of a closed or an open one, and the levels it is judged by, if not the scenario's.

    `users` is how many players take part; in the open model it is also how many requests may be in flight at once, and an
    arrival that finds so many is dropped and counted.
    """

    about: str
    users: int
    stages: tuple[Stage, ...]
    model: Model = "closed"
    levels: tuple[Level, ...] | None = None

    @property
    def shape(self) -> Shape:
        """Its model and stages."""
        return Shape(self.model, self.stages)

    def scaled(self, users: int) -> Profile:
        """The same with another number of users, every target in proportion and none of them gone."""
        stages = tuple(
            Stage(seconds=stage.seconds, target=stage.target and max(round(stage.target * users / self.users), 1))
            for stage in self.stages
        )
        return msgspec.structs.replace(self, users=users, stages=stages)


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

    def playable(self, password: bool) -> bool:
        """Whether it can be played by a population that shares a password, or does not."""
        return (
            password or "password" not in template.parse(self.path).names | template.parse_body(self.body or {}).names
        )


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
    profiles: dict[str, Profile] = {}

    def profile(self, name: str) -> Profile:
        """The profile called `name`. Raises PlanError when there is none."""
        if name not in self.profiles:
            known = ", ".join(self.profiles) or "none; write one into it"
            raise PlanError(f"{self.name} has no profile {name!r}; use one of {known}.")
        return self.profiles[name]

    def flow(self, name: str) -> Flow | None:
        """The flow called `name`, or None."""
        return next((flow for flow in self.flows if flow.name == name), None)
