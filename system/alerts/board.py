"""The alerts as people see and change them, from files alone: for the command, and for boards.

    <runtime>/alerts/alerts.json       where each alert is, written by the service at every look
    <runtime>/alerts/decisions.json    what people said about them

Neither needs the database, nor the service itself: what was known last is still shown, with how long ago that was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from system.alerts import decisions
from system.alerts.decisions import Acknowledgement, DecisionRefused, Decisions, Silence
from system.alerts.notices import Shown, Told, instant, labels_of
from system.alerts.rules import Rule
from system.alerts.states import Course, state

LATE_S: Final = 2.0
"""How much later than three times its interval a look may be: the machine may be busy."""


class Record(msgspec.Struct, frozen=True):
    """What the service wrote at its last look. `interval_s` says when the next one was due."""

    at: float
    interval_s: float
    courses: dict[str, Course] = {}
    values: dict[str, float | None] = {}
    told: dict[str, dict[str, Told]] = {}


def place(runtime: Path) -> Path:
    """Where both files lie."""
    return runtime / "alerts"


def record(directory: Path) -> Record | None:
    """What the service wrote last; None when it never looked, or what it wrote cannot be read."""
    try:
        return msgspec.json.decode((directory / "alerts.json").read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None


def shown(rules: Sequence[Rule], courses: Mapping[str, Course], said: Decisions, now: float) -> tuple[Shown, ...]:
    """Every alert with the state that people gave it."""
    found = []
    for rule in rules:
        course = courses.get(rule.name) or Course(rule.name)
        words = said.said(course, rule.severity, now)
        found.append(Shown(rule, course, state(course, words), words.silenced_until))
    return tuple(found)


def document(
    alerts: Sequence[Shown], said: Decisions, values: Mapping[str, float | None], looked: float | None, now: float
) -> dict[str, Any]:
    """All of it as plain values. `looked` is when the service looked last."""
    return {
        "looked": None if looked is None else instant(looked),
        "age_s": None if looked is None else round(max(0.0, now - looked), 1),
        "firing": sum(one.state == "firing" for one in alerts),
        "alerts": [_alert(one, said, values.get(one.name)) for one in alerts],
        "silences": [msgspec.to_builtins(_dated(one)) for one in said.silences if one.ends > now],
    }


def read(runtime: Path, rules: Sequence[Rule], now: float) -> dict[str, Any]:
    """The document from the files. Raises DecisionRefused when what people said cannot be read."""
    directory = place(runtime)
    kept = record(directory)
    said = decisions.read(directory)
    courses = kept.courses if kept else {}
    return document(shown(rules, courses, said, now), said, kept.values if kept else {}, kept.at if kept else None, now)


def late(runtime: Path, now: float) -> str:
    """Why the files cannot be trusted to tell how it is now; empty when they can."""
    kept = record(place(runtime))
    if kept is None:
        return f"No service has looked at its alerts in {runtime}: either none runs there, or it has just begun."
    if now - kept.at > 3 * kept.interval_s + LATE_S:
        return f"The service looked at its alerts last at {instant(kept.at)}: it does not run, or cannot write there."
    return ""


def acknowledge(
    runtime: Path, rules: Sequence[Rule], name: str, *, by: str, why: str, now: float | None = None
) -> Acknowledgement:
    """The alert that fires is seen by somebody, until it ends. Raises DecisionRefused when it does not fire."""
    _known(rules, name)
    kept = record(place(runtime))
    course = (kept.courses if kept else {}).get(name) or Course(name)
    return decisions.acknowledge(place(runtime), course, now=_now(now), by=by, why=why)


def silence(
    runtime: Path,
    rules: Sequence[Rule],
    matchers: Mapping[str, str],
    *,
    lasting_s: float,
    by: str,
    why: str,
    now: float | None = None,
) -> Silence:
    """Whatever matches is not told for so long. Raises DecisionRefused, also when no rule matches."""
    silenced = Silence("", dict(matchers), 0, 1, "", "")
    if matchers.keys() <= set(decisions.LABELS) and not any(silenced.hides(labels_of(rule), 0) for rule in rules):
        raise DecisionRefused(f"No alert has {_worded(matchers)}; see them with: gymkhana alerts list --all.")
    return decisions.silence(place(runtime), matchers, now=_now(now), lasting_s=lasting_s, by=by, why=why)


def unsilence(runtime: Path, wanted: str, *, now: float | None = None) -> Silence:
    """That silence ends now. Raises DecisionRefused when it is not in force."""
    return decisions.unsilence(place(runtime), wanted, now=_now(now))


def _known(rules: Sequence[Rule], name: str) -> None:
    if name not in {rule.name for rule in rules}:
        raise DecisionRefused(f"There is no alert {name}; see them with: gymkhana alerts list --all.")


def _worded(matchers: Mapping[str, str]) -> str:
    return " and ".join(f"{label} {wanted}" for label, wanted in matchers.items())


def _now(now: float | None) -> float:
    return time.time() if now is None else now


def _alert(one: Shown, said: Decisions, value: float | None) -> dict[str, Any]:
    course, rule = one.course, one.rule
    seen = said.acknowledged.get(one.name) if one.state in ("acknowledged", "silenced") else None
    since = {"pending": course.since, "firing": course.fired, "resolved": course.resolved}.get(course.phase)
    return {
        "name": one.name,
        "severity": rule.severity,
        "state": one.state,
        "since": None if since is None else instant(since),
        "value": value,
        "told": rule.told(course.value if one.active else value),
        "condition": rule.promql(),
        "summary": rule.summary,
        "what_to_do": rule.what_to_do,
        "runbook": rule.runbook,
        "acknowledged": msgspec.to_builtins(_dated(seen)) if seen else None,
        "silenced_until": None if one.silenced_until is None else instant(one.silenced_until),
    }


def _dated(one: Acknowledgement | Silence) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(one)
    return {key: instant(value) if key in ("at", "since", "begins", "ends") else value for key, value in plain.items()}
