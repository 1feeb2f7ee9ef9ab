"""JMeter beyond the contract of all load tools: the shared schedule and chance, the open model, and what breaks it."""

from __future__ import annotations

import json
import resource
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadtests import schedule
from loadtests.chance import generator
from loadtests.errors import LoadError
from loadtests.history import read_history
from loadtests.jmeter import USERS
from loadtests.jmeter_home import compiled, find_java, find_jmeter
from loadtests.made_once import cache
from loadtests.plan import LoadPlan
from loadtests.scenario_file import read
from loadtests.shape import Shape, Stage
from loadtests.tools import LoadTool
from tests.loadtests.stub import Stub

pytestmark = pytest.mark.processes

PlanMaker = Callable[..., LoadPlan]
OPEN = Shape("open", (Stage(seconds=2.0, target=40), Stage(seconds=1.0, target=40)))


def in_groovy(program: str) -> list[str]:
    """The lines that `program` prints, with the users' classes at hand."""
    java, home = find_java(), find_jmeter()
    libraries = f"{compiled(USERS, home, java, cache())}:{home}/lib/*:{home}/lib/ext/*"
    words = [java, "-cp", libraries, "groovy.ui.GroovyMain", "-e", program]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.split("\n")[:-1]


@pytest.mark.usefixtures("jmeter")
def test_chance_is_the_same_in_groovy() -> None:
    """Bit for bit: a user of one tool is the user of the other."""
    draw = generator("20261123-17")
    printed = in_groovy("def draw = new Generator('20261123-17'); 200.times { println draw.next() }")
    assert [float(line) for line in printed] == [draw() for _ in range(200)]


@pytest.mark.usefixtures("jmeter")
def test_what_is_read_can_be_shared_among_threads() -> None:
    """The parser's own maps fill themselves at the first look, and two threads that look at once break them."""
    program = """
        def shared = Json.object('{"a": {"b": 1}, "c": [{"d": 2}]}')
        [shared, shared.a, shared.c, shared.c[0]].each { println it.getClass().name }
    """
    assert in_groovy(program) == ["java.util.LinkedHashMap"] * 2 + ["java.util.ArrayList", "java.util.LinkedHashMap"]


@pytest.mark.usefixtures("jmeter")
def test_users_come_and_go_with_the_shape() -> None:
    """User 15 of a load that rises to 10, jumps to 20, falls to 10 and rises again."""
    stages = [(10, 10), (0, 20), (5, 20), (10, 10), (10, 20)]
    text = json.dumps([{"seconds": seconds, "target": target} for seconds, target in stages])
    program = (
        "def all = new groovy.json.JsonSlurper().parseText('{}'); [5, 15, 21].each {{ println Stays.of(it, all) }}"
    )
    assert in_groovy(program.format(text)) == ["[[5.0, 35.0]]", "[[10.0, 20.0], [30.0, 35.0]]", "[]"]


def test_every_user_plays_the_schedule(jmeter: LoadTool, stub: Stub, quick_plan: PlanMaker) -> None:
    """Step by step; a flow whose bag was empty has been replaced by the one that the scenario names."""
    stub.start()
    plan = quick_plan(stub.url, seconds=5.0)
    with jmeter.start(plan) as load:
        load.wait(60)
    assert load.fault == ""
    flows = read(plan.scenario).flows
    played = defaultdict(list)
    for done in read_history(plan.ledger).dones:
        played[done.user].append(done.flow)
    planned = {one.user: one.steps for one in schedule.read_steps(plan.schedule)}
    assert played.keys() == planned.keys()
    for user, names in played.items():
        scheduled = [flows[flow] for flow, _ in planned[user][: len(names)]]
        assert len(names) >= 5
        assert all(name in (flow.name, flow.otherwise) for name, flow in zip(names, scheduled, strict=True))
        assert [name for name, flow in zip(names, scheduled, strict=True) if flow.takes is None] == [
            flow.name for flow in scheduled if flow.takes is None
        ]


def lines(path: Path, kind: str) -> Iterator[dict[str, float]]:
    return (line for line in map(json.loads, path.read_text().splitlines()) if line["k"] == kind)


def test_arrivals_begin_when_they_are_due(jmeter: LoadTool, stub: Stub, quick_plan: PlanMaker) -> None:
    """The open model: each is a user of its own with one step, and none waits for another's answer."""
    stub.start("--delay-s", "0.2")
    plan = quick_plan(stub.url, users=24, profile=OPEN)
    with jmeter.start(plan) as load:
        load.wait(60)
    assert load.fault == ""
    assert read_history(plan.ledger).cut_short == ""
    (end,) = lines(plan.ledger, "end")
    seen = {int(line["user"]): line for line in lines(plan.ledger, "done")}
    assert len(seen) + end["dropped"] == 80
    assert len(seen) >= plan.users  # each thread had one in hand before the first was due
    due = {number: one.at_ms / 1000 for number, one in enumerate(schedule.read_arrivals(plan.schedule), 1)}
    begun = [line["t"] - line["lag"] / 1000 - due[number] for number, line in seen.items()]
    assert max(begun) - min(begun) < 1e-6
    assert min(line["lag"] for line in seen.values()) >= 0


def test_arrivals_that_find_nobody_free_are_dropped_and_counted(
    jmeter: LoadTool, stub: Stub, quick_plan: PlanMaker
) -> None:
    """Two users cannot answer 80 arrivals of half a second each within three."""
    stub.start("--delay-s", "0.5")
    plan = quick_plan(stub.url, users=2, profile=OPEN)
    with jmeter.start(plan) as load:
        load.wait(60)
    (end,) = lines(plan.ledger, "end")
    assert end["dropped"] > 40
    assert end["dropped"] + end["done"] == 80


def test_a_service_that_is_not_there_refuses_everything(
    jmeter: LoadTool, quick_plan: PlanMaker, until: Callable[[Callable[[], bool]], None]
) -> None:
    """Nothing was sent, so nothing is unknown; and the users go on asking."""
    plan = quick_plan("http://127.0.0.1:9")
    with jmeter.start(plan) as load:
        until(lambda: plan.ledger.read_bytes().count(b'"done"') > 3 * plan.users)
        load.stop()
    history = read_history(plan.ledger)
    assert load.fault == history.cut_short == ""
    assert {(done.outcome, done.status, done.err) for done in history.dones} == {
        ("refused", 0, "HttpHostConnectException")
    }


def test_a_ledger_that_cannot_be_written_ends_the_load(jmeter: LoadTool, stub: Stub, quick_plan: PlanMaker) -> None:
    """No ledger, no promises, no requests. Nothing here is full, but no file of the process may grow beyond 30 kB."""
    stub.start()
    plan = quick_plan(stub.url)
    with jmeter.start(plan) as load:
        resource.prlimit(load.pid, resource.RLIMIT_FSIZE, (30_000, 30_000))
        load.wait(90)
    told = f"The ledger {plan.ledger} cannot be written (File too large); free its disk."
    assert load.fault == f"jmeter ended with 4 ({told}); see {plan.log}."
    assert "torn" in read_history(plan.ledger).cut_short


def test_users_that_throw_are_a_fault(
    monkeypatch: pytest.MonkeyPatch, jmeter: LoadTool, stub: Stub, quick_plan: PlanMaker, tmp_path: Path
) -> None:
    """JMeter itself would log it, carry on, and exit 0."""
    stub.start()
    sources = tmp_path / "groovy"
    sources.mkdir()
    for file in USERS.glob("*.groovy"):
        planted = file.read_text().replace("        played += 1\n", "        played += 1.intdiv(0)\n")
        (sources / file.name).write_text(planted)
    monkeypatch.setattr(jmeter, "sources", sources, raising=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plan = quick_plan(stub.url)
    with jmeter.start(plan) as load:
        load.wait(90)
    assert load.fault.startswith("jmeter ended with 4 (A virtual user broke (java.lang.ArithmeticException: / by zero)")
    history = read_history(plan.ledger)
    assert history.dones == ()
    assert history.cut_short == ""


def test_an_old_jmeter_starts_nothing(
    monkeypatch: pytest.MonkeyPatch, jmeter: LoadTool, quick_plan: PlanMaker, tmp_path: Path
) -> None:
    monkeypatch.setenv("JMETER_HOME", str(tmp_path))
    plan = quick_plan("http://127.0.0.1:1")
    with pytest.raises(LoadError, match="JMETER_HOME names"):
        jmeter.start(plan)
    assert not plan.ledger.exists()
