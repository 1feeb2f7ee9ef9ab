"""The scenario as JMeter's plan: one request per flow, nothing in it that JMeter would evaluate or repeat on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import msgspec
import pytest

from loadtests.jmeter_plan import jmx
from loadtests.plan import LoadPlan
from loadtests.scenario import Scenario

PlanMaker = Callable[..., LoadPlan]


@pytest.fixture
def root(gym_day: Scenario, quick_plan: PlanMaker) -> Element:
    return ElementTree.fromstring(jmx(gym_day, quick_plan("http://gym.test:8123/api")))


def properties(element: Element) -> dict[str, str]:
    return {child.attrib["name"]: child.text or "" for child in element if child.tag != "elementProp"}


def headers(element: Element) -> dict[str, str]:
    rows = [properties(row) for row in element.iter("elementProp") if row.get("elementType") == "Header"]
    return {row["Header.name"]: row["Header.value"] for row in rows}


def test_every_flow_is_a_request_in_the_order_of_the_file(root: Element, gym_day: Scenario) -> None:
    """The schedule calls flows by their number, and JMeter's switch counts the same way."""
    switch = next(root.iter("SwitchController"))
    assert properties(switch) == {"SwitchController.value": "${flow}"}
    requests = list(root.iter("HTTPSamplerProxy"))
    assert [one.attrib["testname"] for one in requests] == [flow.name for flow in gym_day.flows]
    assert [properties(one)["HTTPSampler.method"] for one in requests] == [flow.method for flow in gym_day.flows]


def test_every_element_is_followed_by_its_children(root: Element) -> None:
    """JMeter reads a tree as pairs; one element too many and it loads half a plan."""
    for tree in root.iter("hashTree"):
        tags = [child.tag for child in tree]
        assert all((tag == "hashTree") == bool(index % 2) for index, tag in enumerate(tags)), tags
        assert len(tags) % 2 == 0


def test_requests_go_out_once_as_they_are(root: Element) -> None:
    """No redirects, no second try by another road, and the connection is kept."""
    for request in root.iter("HTTPSamplerProxy"):
        said = properties(request)
        assert said["HTTPSampler.follow_redirects"] == said["HTTPSampler.auto_redirects"] == "false"
        assert said["HTTPSampler.use_keepalive"] == "true"
        assert said["HTTPSampler.path"] == "/api${path}"
    defaults = properties(next(root.iter("ConfigTestElement")))
    assert (defaults["HTTPSampler.domain"], defaults["HTTPSampler.port"]) == ("gym.test", "8123")
    assert defaults["HTTPSampler.connect_timeout"] == defaults["HTTPSampler.response_timeout"] == "5000"
    assert not list(root.iter("CookieManager"))


def test_writes_and_no_reads_carry_an_operation_id(root: Element, gym_day: Scenario) -> None:
    """And nothing carries the header that some clients take as leave to send again."""
    sent = {}
    for tree in root.iter("hashTree"):
        for element, children in zip(tree[::2], tree[1::2], strict=True):
            if element.tag == "HTTPSamplerProxy":
                sent[element.attrib["testname"]] = headers(children)
    expected = {"Content-Type": "application/json", "Operation-Id": "${op}", "Run-Id": "R"}
    assert sent == {flow.name: expected if flow.write else {} for flow in gym_day.flows}
    assert "Idempotency-Key" not in ElementTree.tostring(root, "unicode")


def test_bodies_are_sent_raw(root: Element, gym_day: Scenario) -> None:
    """As the JSON text that the user made, not as a form."""
    for request, flow in zip(root.iter("HTTPSamplerProxy"), gym_day.flows, strict=True):
        values = [properties(row).get("Argument.value") for row in request.iter("elementProp")]
        bodies = [value for value in values if value is not None]
        assert bodies == (["${body}"] if flow.body is not None else [])
        assert properties(request)["HTTPSampler.postBodyRaw"] == str(flow.body is not None).lower()


def test_the_users_are_those_of_the_plan(gym_day: Scenario, quick_plan: PlanMaker) -> None:
    """All threads are made at once; when each is a user says the schedule, not JMeter."""
    root = ElementTree.fromstring(jmx(gym_day, replace(quick_plan("http://x"), users=77)))
    said = properties(next(root.iter("ThreadGroup")))
    assert (said["ThreadGroup.num_threads"], said["ThreadGroup.ramp_time"]) == ("77", "0")


def test_nothing_in_a_scenario_is_taken_for_a_function(gym_day: Scenario, quick_plan: PlanMaker) -> None:
    """A path or a body that looks like one stands in no property that JMeter evaluates."""
    trap = "${__P(user.home)}"
    flows = tuple(msgspec.structs.replace(flow, path=f"/{trap}", body={"bio": trap}) for flow in gym_day.flows)
    plan = quick_plan("http://x")
    root = ElementTree.fromstring(jmx(msgspec.structs.replace(gym_day, flows=flows), plan))
    evaluated = [text.text or "" for text in root.iter("stringProp") if text.get("name") != "TestPlan.comments"]
    assert [text for text in evaluated if "__P" in text] == []
