"""The scenario as a JMeter test plan: one HTTP request per flow; which is next and what it holds says `groovy/Load.groovy`.

    setUp     open the ledger, read schedule and population
    users     next  -> switch to the flow -> invoke | HTTP request | done     (round and round, until the user leaves)
    tearDown  write the ledger's end line

Paths and bodies reach the requests as JMeter variables, already rendered: a value of a variable is not evaluated again, so
nothing in a scenario can be taken for a JMeter function.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import msgspec

from loadtests.plan import LoadPlan
from loadtests.scenario import Flow, Scenario

USER_AGENT = "gymkhana-jmeter"


def jmx(scenario: Scenario, plan: LoadPlan) -> str:
    """The plan's file. Played by JMeter 5.5 or newer with the variables of `plan.to_environment()`, it leaves a ledger."""
    root = Element("jmeterTestPlan", version="1.2", properties="5.0", jmeter="5.5")
    top = SubElement(root, "hashTree")
    whole = _add(top, "TestPlan", "TestPlanGui", scenario.name)
    _arguments(whole.element, "TestPlan.user_defined_variables")

    setup = _group(whole.children, "SetupThreadGroup", "open the ledger", users=1, loops=1, on_error="stoptestnow")
    _script(setup.children, "JSR223Sampler", "open", "props.put('gymkhana', Load.open())")

    users = _group(whole.children, "ThreadGroup", "users", users=plan.users, loops=-1, on_error="continue")
    _text(users.element, "ThreadGroup.ramp_time", "0")
    _bool(users.element, "ThreadGroup.same_user_on_next_iteration", True)
    _defaults(users.children, scenario, plan)
    _headers(users.children, {"Authorization": "Bearer ${token}", "User-Agent": USER_AGENT})
    _script(users.children, "JSR223Sampler", "next", "SampleResult.setIgnore(); props.get('gymkhana').next(ctx)")
    switch = _add(users.children, "SwitchController", "SwitchControllerGui", "the flow")
    _text(switch.element, "SwitchController.value", "${flow}")
    base = urlsplit(plan.url).path.rstrip("/")
    for flow in scenario.flows:
        _request(switch.children, flow, base, plan)
    _script(switch.children, "JSR223PreProcessor", "invoke", "props.get('gymkhana').invoke(ctx)")
    _script(switch.children, "JSR223PostProcessor", "done", "props.get('gymkhana').done(ctx)")

    teardown = _group(whole.children, "PostThreadGroup", "end the ledger", users=1, loops=1, on_error="continue")
    _script(teardown.children, "JSR223Sampler", "end", "props.get('gymkhana').end()")

    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode", xml_declaration=True) + "\n"


class _Node(msgspec.Struct, frozen=True):
    """An element of the plan and the tree of its children, which JMeter keeps beside it."""

    element: Element
    children: Element


def _add(tree: Element, kind: str, panel: str, name: str) -> _Node:
    element = SubElement(tree, kind, guiclass=panel, testclass=kind, testname=name, enabled="true")
    return _Node(element, SubElement(tree, "hashTree"))


def _group(tree: Element, kind: str, name: str, *, users: int, loops: int, on_error: str) -> _Node:
    group = _add(tree, kind, f"{kind}Gui", name)
    _text(group.element, "ThreadGroup.on_sample_error", on_error)
    _text(group.element, "ThreadGroup.num_threads", str(users))
    control = _nested(group.element, "ThreadGroup.main_controller", "LoopController")
    _text(control, "LoopController.loops", str(loops))
    _bool(control, "LoopController.continue_forever", loops < 0)
    return group


def _defaults(tree: Element, scenario: Scenario, plan: LoadPlan) -> None:
    url = urlsplit(plan.url)
    timeout_ms = str(round(scenario.timeout_s * 1000))
    defaults = _add(tree, "ConfigTestElement", "HttpDefaultsGui", "the service").element
    _arguments(defaults, "HTTPsampler.Arguments")
    _text(defaults, "HTTPSampler.domain", url.hostname or "")
    _text(defaults, "HTTPSampler.port", str(url.port or ""))
    _text(defaults, "HTTPSampler.protocol", url.scheme)
    _text(defaults, "HTTPSampler.implementation", "HttpClient4")
    _text(defaults, "HTTPSampler.connect_timeout", timeout_ms)
    _text(defaults, "HTTPSampler.response_timeout", timeout_ms)


def _request(tree: Element, flow: Flow, base: str, plan: LoadPlan) -> None:
    request = _add(tree, "HTTPSamplerProxy", "HttpTestSampleGui", flow.name)
    _text(request.element, "TestPlan.comments", " ".join(_as_in_the_scenario(flow)))
    _text(request.element, "HTTPSampler.method", flow.method)
    _text(request.element, "HTTPSampler.path", f"{base}${{path}}")
    _bool(request.element, "HTTPSampler.follow_redirects", False)
    _bool(request.element, "HTTPSampler.auto_redirects", False)
    _bool(request.element, "HTTPSampler.use_keepalive", True)
    _bool(request.element, "HTTPSampler.postBodyRaw", flow.body is not None)
    _arguments(request.element, "HTTPsampler.Arguments", body="${body}" if flow.body is not None else None)
    if flow.write:
        _headers(request.children, {"Content-Type": "application/json", "Operation-Id": "${op}", "Run-Id": plan.run})


def _as_in_the_scenario(flow: Flow) -> Iterator[str]:
    yield flow.method
    yield flow.path
    if flow.body is not None:
        yield msgspec.json.encode(flow.body).decode()


def _script(tree: Element, kind: str, name: str, text: str) -> None:
    script = _add(tree, kind, "TestBeanGUI", name).element
    _text(script, "scriptLanguage", "groovy")
    _text(script, "cacheKey", "true")
    _text(script, "script", text)


def _headers(tree: Element, headers: dict[str, str]) -> None:
    element = _add(tree, "HeaderManager", "HeaderPanel", "headers").element
    rows = SubElement(element, "collectionProp", name="HeaderManager.headers")
    for name, value in headers.items():
        row = SubElement(rows, "elementProp", name="", elementType="Header")
        _text(row, "Header.name", name)
        _text(row, "Header.value", value)


def _arguments(element: Element, name: str, body: str | None = None) -> None:
    rows = SubElement(_nested(element, name, "Arguments"), "collectionProp", name="Arguments.arguments")
    if body is not None:
        row = SubElement(rows, "elementProp", name="", elementType="HTTPArgument")
        _bool(row, "HTTPArgument.always_encode", False)
        _text(row, "Argument.value", body)
        _text(row, "Argument.metadata", "=")


def _nested(element: Element, name: str, kind: str) -> Element:
    return SubElement(element, "elementProp", name=name, elementType=kind)


def _text(element: Element, name: str, value: str) -> None:
    SubElement(element, "stringProp", name=name).text = value


def _bool(element: Element, name: str, value: bool) -> None:
    SubElement(element, "boolProp", name=name).text = "true" if value else "false"
