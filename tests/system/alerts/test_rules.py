"""The rules mean the same to the service and to Prometheus: both are shown the very same series, minute by minute."""

from __future__ import annotations

import math
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ci import promtool
from system.alerts import rules as rules_of
from system.alerts.export import prometheus
from system.alerts.ring import Ring, increase, quantile
from system.alerts.rules import Rule, RulesRefused
from system.alerts.states import Course, step
from tests.system.alerts.promtool_series import Story, stories

ROOT = Path(__file__).parents[3]
EXPORTED = ROOT / "docs" / "prometheus" / "gymkhana.rules.yml"
TESTS = EXPORTED.with_name("gymkhana.rules.test.yml")
RULES = {rule.name: rule for rule in rules_of.read()}
STORIES = stories(TESTS)

needs_promtool = pytest.mark.skipif(
    not promtool.available(), reason="promtool is not here; Debian has it in the package prometheus"
)


def disagreements(rule: Rule, story: Story) -> list[str]:
    """Where the service's own evaluation of the rule is not what the story expects of Prometheus."""
    found = []
    ring, course = Ring(rules_of.horizon_s([rule])), Course(rule.name)
    for number, readings in enumerate(story.readings):
        now = number * story.interval_s
        ring.add(now, readings)
        course = step(rule, course, rule.expression.value(ring, now), now)
        later = now + story.interval_s
        for one in story.expected:
            if not now <= one.at_s < later:
                continue
            if one.firing and (course.phase == "firing") != (one.value == 1):
                found.append(f"{story.name} is {course.phase} at {one.at_s} s")
            if one.expression == rule.expression.promql():
                value = rule.expression.value(ring, one.at_s)
                if value is None or not math.isclose(round(value, 6), one.value or 0.0, abs_tol=1e-9):
                    found.append(f"{story.name} is worth {value} at {one.at_s} s, and not {one.value}")
    return found


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_the_service_sees_what_prometheus_sees(story: Story) -> None:
    assert disagreements(RULES[story.name], story) == []
    assert {one.value for one in story.expected if one.firing == story.name} == {None, 1.0}, "it fires, and is over"
    assert any(one.expression == RULES[story.name].expression.promql() for one in story.expected)


def test_every_rule_has_its_story() -> None:
    assert [story.name for story in STORIES] == list(RULES)


@needs_promtool
def test_prometheus_sees_what_the_service_sees() -> None:
    done = subprocess.run(["promtool", "test", "rules", TESTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def inverted(rule: Rule) -> Rule:
    return msgspec.structs.replace(rule, above=rule.below, below=rule.above)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_rule_the_wrong_way_round_is_found_by_its_story(story: Story) -> None:
    assert disagreements(inverted(RULES[story.name]), story) != []


@needs_promtool
def test_rules_the_wrong_way_round_are_found_by_promtool(tmp_path: Path) -> None:
    (tmp_path / EXPORTED.name).write_text(prometheus([inverted(rule) for rule in RULES.values()]))
    (tmp_path / TESTS.name).write_text(TESTS.read_text())
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / TESTS.name], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert all(f'alertname=\\"{name}\\"' in done.stdout + done.stderr for name in RULES), "each of them"


@pytest.mark.parametrize("story", [one for one in STORIES if RULES[one.name].lasting_s], ids=lambda story: story.name)
def test_a_rule_that_does_not_wait_is_found_by_its_story(story: Story) -> None:
    assert disagreements(msgspec.structs.replace(RULES[story.name], lasting="0s"), story) != []


def test_the_exported_file_is_what_the_rules_say_now() -> None:
    assert EXPORTED.read_text("utf-8") == prometheus(list(RULES.values())), "run: gymkhana alerts rules export"


def test_every_runbook_that_a_rule_names_is_there() -> None:
    assert [rule.runbook for rule in RULES.values() if not (ROOT / rule.runbook).is_file()] == []


RULE: dict[str, Any] = {
    "name": "Full",
    "severity": "warning",
    "expression": {"kind": "gauge", "metric": "gymkhana_disk_free_ratio"},
    "below": 0.1,
    "summary": "It is full.",
    "what_to_do": "Make room.",
    "runbook": "docs/runbooks/disk-full.md",
}
RATE = {"kind": "rate", "metric": "gymkhana_requests_total", "window": "5m"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"severity": "dire"}, "Invalid enum value 'dire'"),
        ({"above": 1}, "say either above or below"),
        ({"below": None}, "say either above or below"),
        ({"for": "soon"}, "'soon' is no duration"),
        ({"expression": RATE | {"window": "5"}}, "'5' is no duration"),
        ({"expression": RATE | {"labels": {"status": "=~("}}}, "is no pattern"),
        ({"expression": {"kind": "median"}}, "Invalid value 'median'"),
        ({"expression": {"kind": "gauge", "metric": "up"}}, "matching regex"),
        ({"expression": RATE | {"over": "max"}}, "unknown field `over`"),
        ({"name": "no name"}, "matching regex"),
    ],
)
def test_wrong_rules_are_refused_with_what_is_wrong(wrong: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_bytes(msgspec.json.encode([RULE | wrong]))
    with pytest.raises(RulesRefused, match=r"rules\.json") as refused:
        rules_of.read(path)
    assert said in str(refused.value)


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_bytes(msgspec.json.encode([RULE, RULE]))
    with pytest.raises(RulesRefused, match="two rules Full"):
        rules_of.read(path)


def test_rules_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RulesRefused, match="No such file"):
        rules_of.read(tmp_path / "none.json")


def ring_of(*values: float) -> Ring:
    """A counter that was that, every ten seconds."""
    ring = Ring(1000)
    for number, value in enumerate(values):
        ring.add(10.0 * number, [("gymkhana_a_total", {}, value)])
    return ring


def test_a_counter_that_began_anew_did_not_shrink() -> None:
    (span,) = ring_of(10, 20, 5, 15).spans("gymkhana_a_total", 0, 30)
    assert increase(span, 0, 30) == 25
    (span,) = ring_of(10, 20, 5, 15).spans("gymkhana_a_total", 0, 9)
    assert increase(span, 0, 9) is None


def test_a_quantile_of_nothing_is_above_nothing() -> None:
    assert math.isnan(quantile(0.95, {0.1: 0, math.inf: 0}))
    assert not RULES["SlowRequests"].holds(math.nan)
    assert quantile(0.95, {0.1: 0, math.inf: 7}) == 0.1, "all are above the last bound: no more is known"
    assert quantile(0.5, {0.1: 10, math.inf: 10}) == 0.05


def test_the_ring_forgets() -> None:
    ring = Ring(10)
    for now in range(0, 100, 5):
        ring.add(now, [("gymkhana_a_total", {"x": "1"}, now)] if now < 50 else [])
    assert list(ring.spans("gymkhana_a_total", 0, 100)) == []
    assert ring.newest("gymkhana_a_total") == {}


def test_a_clock_that_was_set_back_begins_anew() -> None:
    ring = Ring(1000)
    for now in (100, 110, 50, 60):
        ring.add(now, [("gymkhana_a_total", {}, 1)])
    (span,) = ring.spans("gymkhana_a_total", 0, 1000)
    assert (span.first.at, span.last.at, span.points) == (50, 60, 2)


def test_the_story_reader_is_held_too() -> None:
    story = next(one for one in STORIES if one.name == "ErrorRate")
    assert disagreements(RULES["ErrorRate"], replace(story, readings=story.readings[:20] * 8)) != []
