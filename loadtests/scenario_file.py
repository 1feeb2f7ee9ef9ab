"""Reading a scenario file: parsed once, checked whole, and refused with a sentence per fault before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from loadtests import template
from loadtests.errors import ScenarioError
from loadtests.scenario import PREFILLED, ErrorLevel, Flow, LatencyLevel, Level, Profile, Scenario

_METHODS = {"GET": False, "POST": True, "PATCH": True, "DELETE": True}
"""The methods a flow may use, and whether they write."""


def read(path: Path) -> Scenario:
    """The scenario at `path`, sound in every field. Raises ScenarioError, holding every fault found."""
    try:
        scenario = msgspec.json.decode(path.read_bytes(), type=Scenario)
    except OSError as error:
        raise ScenarioError((f"{path} cannot be read ({error.strerror}); name a scenario file.",)) from error
    except msgspec.ValidationError as error:
        raise ScenarioError((f"{path.name}: {_plain(error)}.",)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ScenarioError((f"{path.name} is not JSON ({error}); correct it.",)) from error
    if found := tuple(f"{path.name}: {fault}" for fault in faults(scenario)):
        raise ScenarioError(found)
    return scenario


def faults(scenario: Scenario) -> Iterator[str]:
    """Every rule the scenario breaks, as one sentence each: the field, what it is, what to do."""
    yield from _timing_faults(scenario)
    if not scenario.flows:
        yield "flows is empty; name at least one flow."
    elif sum(flow.weight for flow in scenario.flows) <= 0:
        yield "flows have no weight between them; give at least one a weight above 0."
    bags = {*PREFILLED, *_filled(scenario)}
    seen: set[str] = set()
    for index, flow in enumerate(scenario.flows):
        where = f"flows[{index}] ({flow.name})"
        if flow.name in seen:
            yield f"{where}.name is used twice; give each flow a name of its own."
        seen.add(flow.name)
        yield from _request_faults(flow, where)
        yield from _template_faults(flow, where)
        yield from _bag_faults(flow, where, scenario, bags)
    for index, level in enumerate(scenario.levels):
        yield from _level_faults(level, f"levels[{index}]", scenario)
    for name, profile in scenario.profiles.items():
        yield from _profile_faults(profile, f"profiles.{name}", scenario)


def _timing_faults(scenario: Scenario) -> Iterator[str]:
    if scenario.timeout_s <= 0:
        yield f"timeout_s is {scenario.timeout_s:g}; give seconds above 0."
    if scenario.samples_min < 1:
        yield f"samples_min is {scenario.samples_min}; give 1 or more."
    if scenario.think.min_s < 0:
        yield f"think.min_s is {scenario.think.min_s:g}; give 0 or more."
    if scenario.think.max_s < scenario.think.min_s:
        yield f"think.max_s ({scenario.think.max_s:g}) is below think.min_s ({scenario.think.min_s:g}); swap them."
    elif scenario.think.max_s == 0:
        yield "think.max_s is 0; users without a pause measure only the queue, so give seconds above 0."
    if scenario.load.users < 1:
        yield f"load.users is {scenario.load.users}; give 1 or more."
    if scenario.load.ramp_per_s <= 0:
        yield f"load.ramp_per_s is {scenario.load.ramp_per_s:g}; give users per second above 0."
    if scenario.load.seconds < 0:
        yield f"load.seconds is {scenario.load.seconds:g}; give 0 (until stopped) or more."


def _request_faults(flow: Flow, where: str) -> Iterator[str]:
    if flow.weight < 0:
        yield f"{where}.weight is {flow.weight:g}; give 0 or more."
    if flow.method not in _METHODS:
        yield f"{where}.method is {flow.method!r}; use one of {', '.join(_METHODS)}."
    elif flow.write != _METHODS[flow.method]:
        should = "true" if _METHODS[flow.method] else "false"
        yield f"{where}.write must be {should} for {flow.method}; only writes carry an operation id."
    if flow.method == "GET" and flow.body is not None:
        yield f"{where}.body is given for a GET; leave it out."
    if not flow.path.startswith("/"):
        yield f"{where}.path is {flow.path!r}; start it with a slash."
    if not any(200 <= status < 300 for status in flow.expect):
        yield f"{where}.expect names no success; add the 2xx the service answers with."
    for status in flow.expect:
        if not (200 <= status < 300 or 400 <= status < 500):
            yield f"{where}.expect holds {status}; only a 2xx or a 4xx can be an expected answer."


def _template_faults(flow: Flow, where: str) -> Iterator[str]:
    names: frozenset[str] = frozenset()
    try:
        field = "path"
        names |= template.parse(flow.path).names
        field = "body"
        names |= template.parse_body(flow.body or {}).names
    except ValueError as error:
        yield f"{where}.{field}: {error}."
    if "taken" in names and flow.takes is None:
        yield f"{where} uses {{taken}} but takes nothing; name a bag in its field takes."


def _bag_faults(flow: Flow, where: str, scenario: Scenario, bags: set[str]) -> Iterator[str]:
    if flow.takes is None:
        if flow.keeps is not None:
            yield f"{where}.keeps needs takes; name the bag the id comes from."
        if flow.otherwise is not None:
            yield f"{where}.otherwise needs takes; only a flow that takes an id can find its bag empty."
        return
    if flow.takes not in bags:
        yield f"{where}.takes is {flow.takes!r}, which nothing fills; use one of {', '.join(sorted(bags))}."
    if flow.otherwise is None:
        yield f"{where}.otherwise is missing; name the flow to play while the bag {flow.takes!r} is empty."
        return
    instead = scenario.flow(flow.otherwise)
    if instead is None:
        yield f"{where}.otherwise names {flow.otherwise!r}, which is not a flow; name one that is."
    elif instead.takes is not None:
        yield f"{where}.otherwise names {flow.otherwise!r}, which takes an id itself; name one that takes nothing."


def _level_faults(level: Level, where: str, scenario: Scenario) -> Iterator[str]:
    if isinstance(level, LatencyLevel):
        if not 0 < level.percentile < 100:
            yield f"{where}.percentile is {level.percentile:g}; give a number between 0 and 100."
        if level.gate_ms <= 0:
            yield f"{where}.gate_ms is {level.gate_ms:g}; give milliseconds above 0."
        if level.aim_ms is not None and not 0 < level.aim_ms <= level.gate_ms:
            yield f"{where}.aim_ms is {level.aim_ms:g}; give milliseconds above 0 and at most gate_ms."
    elif not 0 <= level.gate_share < 1:
        yield f"{where}.gate_share is {level.gate_share:g}; give a share from 0 to below 1."
    if isinstance(level, LatencyLevel | ErrorLevel) and level.flow is not None and scenario.flow(level.flow) is None:
        yield f"{where}.flow names {level.flow!r}, which is not a flow; name one that is, or leave it out."
    if isinstance(level, LatencyLevel | ErrorLevel):
        yield from _window_faults(level, where)


def _window_faults(level: LatencyLevel | ErrorLevel, where: str) -> Iterator[str]:
    if level.from_s is not None and level.from_s < 0:
        yield f"{where}.from_s is {level.from_s:g}; give 0 (the first measured second) or more."
    if level.to_s is not None and level.to_s <= (level.from_s or 0):
        yield f"{where}.to_s is {level.to_s:g}; give seconds after from_s ({level.from_s or 0:g})."


def _profile_faults(profile: Profile, where: str, scenario: Scenario) -> Iterator[str]:
    if profile.users < 1:
        yield f"{where}.users is {profile.users}; give 1 or more."
    if not profile.stages:
        yield f"{where}.stages is empty; give at least one."
    for index, stage in enumerate(profile.stages):
        if stage.seconds < 0:
            yield f"{where}.stages[{index}].seconds is {stage.seconds:g}; give 0 (a jump) or more."
        if stage.target < 0:
            yield f"{where}.stages[{index}].target is {stage.target}; give 0 or more."
        elif profile.model == "closed" and stage.target > profile.users:
            yield f"{where}.stages[{index}].target is {stage.target}, above the profile's {profile.users} users; lower it."
    if profile.stages and (profile.shape.length_s <= 0 or profile.shape.top < 1):
        yield f"{where}.stages come to nothing; give one with seconds and a target above 0."
    for index, level in enumerate(profile.levels or ()):
        yield from _level_faults(level, f"{where}.levels[{index}]", scenario)


def _filled(scenario: Scenario) -> Iterator[str]:
    """The bags that some flow fills."""
    for flow in scenario.flows:
        yield from (learn.into for learn in flow.learns)
        if flow.keeps is not None:
            yield flow.keeps


def _plain(error: msgspec.ValidationError) -> str:
    """msgspec says "Expected `int`, got `str` - at `$.flows[0].weight`"; the field belongs in front."""
    complaint, _, where = str(error).partition(" - at `$.")
    complaint = complaint.replace("Object contains unknown field", "unknown field")
    complaint = complaint.replace("Object missing required field", "missing field").replace("`", "")
    return f"{where.rstrip('`')}: {complaint}" if where else complaint
