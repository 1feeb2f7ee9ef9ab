"""Every way of one alert, step by step, and what people may say about it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from system.alerts import board, decisions
from system.alerts import rules as rules_of
from system.alerts.decisions import DecisionRefused
from system.alerts.rules import Rule
from system.alerts.states import RESOLVED_SHOWN_S, Course, Phase, step

RULES = rules_of.read()
RULE = msgspec.structs.replace(next(rule for rule in RULES if rule.name == "DiskFilling"), lasting="10s")
LOW, HIGH = 0.01, 0.5


def walk(*looks: tuple[float, float | None], rule: Rule = RULE) -> list[Phase]:
    course, phases = Course(rule.name), []
    for now, value in looks:
        course = step(rule, course, value, now)
        phases.append(course.phase)
    return phases


def test_it_fires_once_it_held_long_enough_and_is_over_at_once() -> None:
    looks = [(0, HIGH), (5, LOW), (14.9, LOW), (15, LOW), (20, LOW), (25, HIGH)]
    assert walk(*looks) == ["inactive", "pending", "pending", "firing", "firing", "resolved"]


def test_one_good_look_begins_the_wait_anew() -> None:
    assert walk((0, LOW), (9, HIGH), (10, LOW), (19, LOW), (20, LOW)) == [
        "pending", "inactive", "pending", "pending", "firing",
    ]  # fmt: skip


def test_without_a_wait_it_fires_at_the_first_look() -> None:
    assert walk((0, LOW), rule=msgspec.structs.replace(RULE, lasting="0s")) == ["firing"]


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_what_is_not_known_does_not_hold(unknown: float | None) -> None:
    assert walk((0, LOW), (10, LOW), (20, unknown)) == ["pending", "firing", "resolved"]


def test_resolved_is_shown_for_a_while_and_may_fire_again() -> None:
    looks = [(0, LOW), (10, LOW), (11, HIGH), (12, HIGH), (11 + RESOLVED_SHOWN_S, HIGH), (5000, LOW), (5010, LOW)]
    assert walk(*looks)[2:] == ["resolved", "resolved", "inactive", "pending", "firing"]


def test_the_value_is_that_of_when_it_held() -> None:
    course = step(RULE, step(RULE, Course("x"), LOW, 0), LOW / 2, 10)
    assert step(RULE, course, HIGH, 20).value == LOW / 2


FIRING = Course("DiskFilling", "firing", since=100.0, fired=110.0, value=LOW)


def states(place: Path, course: Course, now: float) -> dict[str, str]:
    said = decisions.read(place)
    return {one.name: one.state for one in board.shown(RULES, {course.name: course}, said, now)}


def test_an_acknowledgement_is_of_one_episode(tmp_path: Path) -> None:
    decisions.acknowledge(tmp_path, FIRING, now=120, by="me", why="I look")
    assert states(tmp_path, FIRING, 130)["DiskFilling"] == "acknowledged"
    again = msgspec.structs.replace(FIRING, since=200.0, fired=210.0)
    assert states(tmp_path, again, 220)["DiskFilling"] == "firing"


@pytest.mark.parametrize("phase", ["inactive", "pending", "resolved"])
def test_only_what_fires_can_be_acknowledged(phase: Phase, tmp_path: Path) -> None:
    with pytest.raises(DecisionRefused, match="does not fire"):
        decisions.acknowledge(tmp_path, Course("Memory", phase), now=1, by="me", why="")


@pytest.mark.parametrize(
    ("matchers", "hidden"),
    [
        ({"alertname": "DiskFilling"}, True),
        ({"alertname": "=~Disk.+|Memory"}, True),
        ({"alertname": "=~Disk"}, False),
        ({"severity": "warning"}, True),
        ({"severity": "critical"}, False),
        ({"severity": "warning", "alertname": "Memory"}, False),
        ({"alertname": "!=Memory"}, True),
    ],
)
def test_a_silence_hides_what_matches_until_it_ends(matchers: dict[str, str], hidden: bool, tmp_path: Path) -> None:
    decisions.silence(tmp_path, matchers, now=120, lasting_s=60, by="me", why="")
    shown = [states(tmp_path, FIRING, now)["DiskFilling"] for now in (119, 120, 179, 180)]
    assert shown == (["firing", "silenced", "silenced", "firing"] if hidden else ["firing"] * 4)


def test_a_silence_is_shown_before_an_acknowledgement_and_can_be_ended(tmp_path: Path) -> None:
    decisions.acknowledge(tmp_path, FIRING, now=120, by="me", why="")
    made = decisions.silence(tmp_path, {"severity": "warning"}, now=120, lasting_s=60, by="me", why="")
    assert states(tmp_path, FIRING, 130)["DiskFilling"] == "silenced"
    decisions.unsilence(tmp_path, made.id, now=140)
    assert states(tmp_path, FIRING, 141)["DiskFilling"] == "acknowledged"
    with pytest.raises(DecisionRefused, match=f"No silence {made.id} is in force; there is none"):
        decisions.unsilence(tmp_path, made.id, now=150)


@pytest.mark.parametrize("matchers", [{}, {"colour": "red"}, {"alertname": "=~("}])
def test_a_silence_that_makes_no_sense_is_refused(matchers: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(DecisionRefused):
        decisions.silence(tmp_path, matchers, now=1, lasting_s=1, by="me", why="")
    assert list(tmp_path.glob("*.json")) == []


def test_what_cannot_be_read_is_said_and_not_taken_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "decisions.json").write_text("{")
    with pytest.raises(DecisionRefused, match=r"decisions\.json"):
        decisions.read(tmp_path)
