"""What has to be told to whom now, pure: who was told what, and how the alerts are, in; a notice, or none, out.

Alerts of one severity are told together. A notice is due when one is new, when one that was told is over, and now and then
while something fires that nobody has acknowledged. What is silenced is not told; that it is over is, if it had been told
before, and so is that it still fires once its silence ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from system.alerts.rules import Rule
from system.alerts.states import Course, State

NOWHEN = "0001-01-01T00:00:00Z"
"""How Alertmanager writes that something has not ended."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One alert as it is told: its rule, where it is, and the state that people gave it."""

    rule: Rule
    course: Course
    state: State
    silenced_until: float | None = None

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def active(self) -> bool:
        """Whether it fires, whatever was said about it."""
        return self.course.phase == "firing"


class Told(msgspec.Struct, frozen=True):
    """What one receiver knows of one group: which alerts fire, which of these have been silenced since, and since when."""

    firing: frozenset[str] = frozenset()
    muted: frozenset[str] = frozenset()
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What to tell: alerts of one severity that fire, and those that are over."""

    severity: str
    firing: tuple[Shown, ...]
    resolved: tuple[Shown, ...]

    @property
    def status(self) -> str:
        return "firing" if self.firing else "resolved"

    @property
    def content(self) -> tuple[frozenset[str], frozenset[str]]:
        """What makes it another notice."""
        return frozenset(one.name for one in self.firing), frozenset(one.name for one in self.resolved)


def due(told: Told, alerts: Sequence[Shown], now: float, repeat_s: float) -> tuple[Told, Notice | None]:
    """What is known of what was told, silences taken into account, and what is to be told now. Alerts of one severity."""
    active = frozenset(one.name for one in alerts if one.active)
    hidden = frozenset(one.name for one in alerts if one.state == "silenced")
    told = msgspec.structs.replace(told, firing=told.firing - hidden, muted=told.muted | (told.firing & hidden))
    visible = active - hidden
    over = (told.firing | told.muted) - active
    unseen = frozenset(one.name for one in alerts if one.state == "firing")
    again = bool(unseen) and now - told.at >= repeat_s
    if not (visible - told.firing or over or again):
        return told, None
    firing = tuple(one for one in alerts if one.name in visible)
    resolved = tuple(one for one in alerts if one.name in over)
    return told, Notice(alerts[0].rule.severity, firing, resolved) if firing or resolved else None


def after(told: Told, notice: Notice, now: float) -> Told:
    """What the receiver knows once it took the notice."""
    firing, resolved = notice.content
    return Told(firing, told.muted - firing - resolved, now)


def payload(notice: Notice, receiver: str, external_url: str, now: float) -> dict[str, Any]:
    """The notice as a webhook of Alertmanager's has it, version 4."""
    alerts = [
        *(_alert(one, "firing", external_url, now) for one in notice.firing),
        *(_alert(one, "resolved", external_url, now) for one in notice.resolved),
    ]
    return {
        "version": "4",
        "groupKey": group_key(notice.severity),
        "truncatedAlerts": 0,
        "status": notice.status,
        "receiver": receiver,
        "groupLabels": {"severity": notice.severity},
        "commonLabels": _common([one["labels"] for one in alerts]),
        "commonAnnotations": _common([one["annotations"] for one in alerts]),
        "externalURL": external_url,
        "alerts": alerts,
    }


def group_key(severity: str) -> str:
    """What tells notices that belong together."""
    return f'{{}}:{{severity="{severity}"}}'


def subject(notice: Notice) -> str:
    """The notice in one line."""
    alerts = notice.firing or notice.resolved
    names = ", ".join(one.name for one in alerts)
    count = f":{len(notice.firing)}" if notice.firing else ""
    return f"[{notice.status.upper()}{count}] {names} ({notice.severity})"


def text(notice: Notice, external_url: str, now: float) -> str:
    """The notice for people to read."""
    parts = [_said(one, "FIRING", since=one.course.fired, now=now) for one in notice.firing]
    parts += [_said(one, "RESOLVED", since=one.course.resolved, now=now) for one in notice.resolved]
    return "\n\n".join(parts) + f"\n\n{external_url}\n"


def instant(at: float) -> str:
    """RFC 3339, in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _said(one: Shown, status: str, *, since: float, now: float) -> str:
    rule = one.rule
    lines = [f"{status} {rule.name} ({rule.severity}) since {instant(since or now)}", rule.summary]
    if status == "FIRING":
        lines += [f"Now: {rule.told(one.course.value)}", f"To do: {rule.what_to_do}", f"Runbook: {rule.runbook}"]
    return "\n".join(lines)


def _alert(one: Shown, status: str, external_url: str, now: float) -> dict[str, Any]:
    labels = labels_of(one.rule)
    ended = status == "resolved"
    return {
        "status": status,
        "labels": labels,
        "annotations": annotations_of(one.rule) | {"value": one.rule.told(one.course.value)},
        "startsAt": instant(one.course.fired or now),
        "endsAt": instant(one.course.resolved or now) if ended else NOWHEN,
        "generatorURL": external_url,
        "fingerprint": hashlib.blake2b(msgspec.json.encode(sorted(labels.items())), digest_size=8).hexdigest(),
    }


def labels_of(rule: Rule) -> dict[str, str]:
    """What tells the alert from others."""
    return {"alertname": rule.name, "severity": rule.severity}


def annotations_of(rule: Rule) -> dict[str, str]:
    """What is said about it."""
    return {"summary": rule.summary, "description": rule.what_to_do, "runbook": rule.runbook}


def _common(all_of: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = all_of
    return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}
