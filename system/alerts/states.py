"""What becomes of one alert, pure: a value of its rule and an instant in, its next state out.

    inactive ── holds ── pending ── long enough ── firing ── no more ── resolved ── a while later ── inactive
                            └─ no more ── inactive    └─ shown as acknowledged, or as silenced, while somebody said so

As in Prometheus, `for` counts from the first evaluation at which the condition held, and one at which it does not ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from system.alerts.rules import Rule

Phase = Literal["inactive", "pending", "firing", "resolved"]
State = Literal["inactive", "pending", "firing", "acknowledged", "silenced", "resolved"]

RESOLVED_SHOWN_S: Final = 3600.0
"""How long one that is over is still shown as such."""

CODES: Final[dict[State, int]] = {
    "inactive": 0, "resolved": 0, "pending": 1, "firing": 2, "acknowledged": 3, "silenced": 4,
}  # fmt: skip
"""What `gymkhana_alert_state` says."""


class Course(msgspec.Struct, frozen=True):
    """Where one alert is. Instants are seconds since the epoch; `since` is when its condition began to hold.

    `value` is the last one known, while it fires the last one for which the condition held.
    """

    name: str
    phase: Phase = "inactive"
    since: float = 0.0
    fired: float = 0.0
    resolved: float = 0.0
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What people said about an alert: whether it is acknowledged, and until when it is silenced."""

    acknowledged: bool = False
    silenced_until: float | None = None


def step(rule: Rule, course: Course, value: float | None, now: float) -> Course:
    """Where the alert is after a look at that instant."""
    if not rule.holds(value):
        return _over(course, now)
    course = msgspec.structs.replace(course, value=value)
    if course.phase == "firing":
        return course
    if course.phase != "pending":
        course = Course(course.name, "pending", since=now, value=value)
    if now - course.since >= rule.lasting_s:
        return msgspec.structs.replace(course, phase="firing", fired=now)
    return course


def _over(course: Course, now: float) -> Course:
    if course.phase == "firing":
        return msgspec.structs.replace(course, phase="resolved", resolved=now)
    if course.phase == "resolved" and now - course.resolved < RESOLVED_SHOWN_S:
        return course
    return course if course.phase == "inactive" else Course(course.name)


def state(course: Course, said: Said) -> State:
    """The alert's state as people are shown it: a silence before an acknowledgement."""
    if course.phase != "firing":
        return course.phase
    if said.silenced_until is not None:
        return "silenced"
    return "acknowledged" if said.acknowledged else "firing"
