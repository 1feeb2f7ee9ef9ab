"""No false green: loads spoilt in every way that has made a load tool say that all is well, and loads that nothing spoilt.

Each plays through `gymkhana load` with real processes. What is spoilt never ends with 0; what is sound always does.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from ci.cli import gymkhana
from loadtests import population, schedule
from loadtests.errors import LoadError
from loadtests.plan import LoadPlan
from loadtests.schedule import UserSteps
from loadtests.tools import K6
from tests.loadtests.stub import Stub
from tests.soak import rounds

pytestmark = pytest.mark.processes

PlanMaker = Callable[..., LoadPlan]
Meddling = Callable[[int], None]
"""Done to a running load, whose tool has this process id."""

BOTH = pytest.mark.parametrize("tool", ["locust", "k6"])
SECONDS = 3.0


class Bench:
    """A scenario, a population and a service to load, and what the command said of it."""

    def __init__(self, plan: LoadPlan, scenario: dict[str, Any]) -> None:
        self.plan = plan
        self.scenario = scenario
        self.code = -1
        self.said = ""

    def load(self, *options: str, meddle: Meddling | None = None) -> int:
        """The exit code of a load; `meddle` is done once forty lines are in its ledger."""
        plan = self.plan
        plan.scenario.write_text(json.dumps(self.scenario))
        arguments = ["--url", plan.url, "--scenario", str(plan.scenario), "--population", str(plan.population)]
        arguments += ["--directory", str(plan.directory)]
        if "--profile" not in options:
            arguments += ["--users", str(plan.users), "--ramp", str(plan.ramp_per_s), "--seconds", str(SECONDS)]
        with meddling(plan, meddle):
            result = CliRunner().invoke(gymkhana, ["load", *arguments, *options])
        self.code, self.said = result.exit_code, result.output
        if isinstance(result.exception, LoadError):
            self.code, self.said = result.exception.exit_code, str(result.exception)
        elif result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return self.code


@contextmanager
def meddling(plan: LoadPlan, meddle: Meddling | None) -> Iterator[None]:
    """Meddles with the load of the block once it is under way; the block has failed when that was never possible."""
    if meddle is None:
        yield
        return
    over, done = threading.Event(), threading.Event()

    def wait_and_meddle() -> None:
        while not over.wait(0.02):
            if sum(path.read_bytes().count(b"\n") for path in plan.directory.glob("ledger*.jsonl")) < 40:
                continue
            tools = [child for child in psutil.Process().children() if is_tool(child)]
            if tools:
                done.set()
                meddle(tools[0].pid)
                return

    thread = threading.Thread(target=wait_and_meddle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert done.is_set(), "the load was over before anybody could meddle with it"


def is_tool(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return any(word == "loadtests.locustfile" or word.endswith(".js") for word in words)


@pytest.fixture
def bench(stub: Stub, quick_plan: PlanMaker, scenario_text: dict[str, Any]) -> Bench:
    """Twelve users, a good service, and levels that a good service meets with ease."""
    stub.start()
    scenario_text["think"] = {"min_s": 0.1, "max_s": 0.3}
    scenario_text["levels"] = [
        {"measure": "errors", "gate_share": 0},
        {"measure": "latency", "percentile": 50, "gate_ms": 900},
    ]
    return Bench(quick_plan(stub.url), scenario_text)


# --- nothing spoilt -------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("seed", range(1, rounds(2, 10) + 1))
def test_sound_load_is_green(bench: Bench, tool: str, seed: int) -> None:
    """Ten seeds with each tool in `make soak`: no false alarm."""
    assert bench.load("--tool", tool, "--seed", str(seed)) == 0, bench.said


@BOTH
def test_sound_open_load_is_green(bench: Bench, tool: str) -> None:
    """Every arrival when it is due."""
    stages = [{"seconds": 1, "target": 60}, {"seconds": 3, "target": 60}]
    bench.scenario["profiles"] = {"trickle": {"about": "", "users": 24, "model": "open", "stages": stages}}
    assert bench.load("--tool", tool, "--profile", "trickle") == 0, bench.said


def test_sound_load_of_two_processes_is_green(bench: Bench) -> None:
    """Each has a ledger, no user is in both, and the sums are the whole's."""
    assert bench.load("--processes", "2") == 0, bench.said
    ends = [
        json.loads(path.read_text().splitlines()[-1]) for path in sorted(bench.plan.directory.glob("ledger*.jsonl"))
    ]
    *parts, whole = sorted(ends, key=lambda end: int(end["done"]))
    assert len(parts) == 2
    for count in ("invoked", "done"):
        assert whole[count] == sum(part[count] for part in parts) > 0


# --- the script -----------------------------------------------------------------------------------------------------


@BOTH
def test_script_that_throws(bench: Bench, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that does not exist: k6 alone exits with 0 when every iteration throws, and Locust goes on."""
    nowhere = UserSteps(1, ((99, 100),))
    write = schedule.write
    monkeypatch.setattr(schedule, "write", lambda path, _lines: write(path, iter([nowhere])))
    assert bench.load("--tool", tool) == 4
    assert f"{tool} ended with" in bench.said


def test_script_that_sends_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """k6 alone is content with no request at all when no threshold counts them."""
    script = tmp_path / "idle.js"
    script.write_text(K6.script.read_text().replace("  play(nextStep(flows[flow]), due);", ""))
    monkeypatch.setattr(K6, "script", script)
    assert bench.load("--tool", "k6") == 3
    assert "Nothing was sent." in bench.said


def test_level_of_a_flow_that_does_not_exist(bench: Bench) -> None:
    """k6 alone is content with a threshold on a tag that never occurs."""
    bench.scenario["levels"].append({"measure": "errors", "gate_share": 0, "flow": "profil"})
    assert bench.load() == 2
    assert (
        bench.said
        == "quick.json: levels[2].flow names 'profil', which is not a flow; name one that is, or leave it out."
    )


def test_level_of_a_flow_that_never_ran(bench: Bench) -> None:
    """It exists, and has no weight."""
    bench.scenario["flows"][0]["weight"] = 0
    bench.scenario["levels"].append({"measure": "errors", "gate_share": 0, "flow": "profile"})
    assert bench.load("--tool", "k6") == 3
    assert "nothing was sent" in bench.said


def test_no_level_at_all(bench: Bench, stub: Stub) -> None:
    """k6 alone is content with failing checks that have no threshold."""
    stub.kill()
    stub.start("--spoil")
    bench.scenario["levels"] = []
    assert bench.load("--tool", "k6") == 3
    assert "no service level" in bench.said


def test_misspelt_field(bench: Bench) -> None:
    """It would be ignored, and its level never judged."""
    bench.scenario["levels"][0]["gateshare"] = 0
    assert bench.load() == 2
    assert "unknown field gateshare" in bench.said.replace("'", "")


@BOTH
def test_misspelt_list_that_nothing_is_learnt_from(bench: Bench, tool: str) -> None:
    """The challenges are there, but are looked for under another name, so that nobody ever accepts one."""
    weights = {"challenge": 30, "challenges": 30, "accept": 40}
    for flow in bench.scenario["flows"]:
        flow["weight"] = weights.get(flow["name"], 0)
        for learn in flow.get("learns", []):
            learn["at"] = "challengs"
    bench.scenario["think"] = {"min_s": 0.01, "max_s": 0.07}
    assert bench.load("--tool", tool, "--seconds", "10") == 3
    assert "The flow accept was never played" in bench.said


def test_too_few_samples(bench: Bench) -> None:
    """A percentile of forty requests is chance."""
    bench.scenario["samples_min"] = 5000
    assert bench.load("--tool", "k6") == 3
    assert "5000 needed" in bench.said


def test_percentile_that_is_not_resolved(bench: Bench) -> None:
    """The p99.9 of some hundred requests."""
    bench.scenario["levels"].append({"measure": "latency", "percentile": 99.9, "gate_ms": 900})
    assert bench.load() == 3
    assert "not resolved" in bench.said


def test_window_after_the_end(bench: Bench) -> None:
    """Its seconds never came."""
    bench.scenario["levels"].append({"measure": "latency", "percentile": 50, "gate_ms": 900, "from_s": 60})
    assert bench.load() == 3
    assert "nothing was sent" in bench.said


# --- the service ----------------------------------------------------------------------------------------------------


@BOTH
def test_dead_service(bench: Bench, stub: Stub, tool: str) -> None:
    """Refused connections are fast: with levels of latency alone, k6 is content."""
    stub.kill()
    bench.scenario["levels"] = bench.scenario["levels"][1:]
    assert bench.load("--tool", tool) in (1, 3)
    assert "infinitely slow" in bench.said


@BOTH
def test_wrong_address(bench: Bench, tool: str, quick_plan: PlanMaker) -> None:
    """Everything is answered, quickly, with a 404."""
    bench.scenario["flows"] = [{"name": "typo", "weight": 1, "method": "GET", "path": "/usres/me"}]
    assert bench.load("--tool", tool) == 1
    assert "most often typo with status 404" in bench.said


@BOTH
def test_service_that_dies(bench: Bench, stub: Stub, tool: str) -> None:
    """In the middle of the load."""
    assert bench.load("--tool", tool, meddle=lambda _pid: stub.kill()) == 1


@BOTH
def test_service_that_hangs(bench: Bench, stub: Stub, tool: str) -> None:
    """Stopped, it keeps every connection and answers none: fewer requests, none of them refused."""
    assert bench.load("--tool", tool, meddle=lambda _pid: os.kill(stub.pid, signal.SIGSTOP)) in (1, 3)


@BOTH
def test_service_too_slow(bench: Bench, stub: Stub, tool: str) -> None:
    """A quarter of a second where a tenth is allowed."""
    stub.kill()
    stub.start("--delay-s", "0.25")
    bench.scenario["levels"][1]["gate_ms"] = 100
    assert bench.load("--tool", tool) == 1
    assert "ms too slow" in bench.said


# --- the generator --------------------------------------------------------------------------------------------------


@BOTH
def test_killed_generator(bench: Bench, tool: str) -> None:
    """It says nothing any more."""
    assert bench.load("--tool", tool, meddle=lambda pid: os.kill(pid, signal.SIGKILL)) == 4
    assert f"{tool} ended with -9" in bench.said


@BOTH
def test_generator_told_to_stop(bench: Bench, tool: str) -> None:
    """It ends in good order, and long before its time. Locust's own command line dies without a word."""
    bench.scenario["think"] = {"min_s": 0.1, "max_s": 0.2}
    assert bench.load("--tool", tool, "--seconds", "30", meddle=lambda pid: os.kill(pid, signal.SIGTERM)) == 3
    assert "The load was ended early" in bench.said


@BOTH
def test_throttled_generator(bench: Bench, tool: str) -> None:
    """Held still for a quarter of a second at a time: it sees a slow service where it was slow itself.

    Long enough for most of it to be throttled, however late its first lines are seen on a machine with much to do.
    """

    def throttle(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(pid, signal.SIGSTOP)
                time.sleep(0.25)
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.05)

    assert bench.load("--tool", tool, "--seconds", "8", meddle=throttle) == 3, bench.said
    assert "The load generator was the bottleneck" in bench.said or "Little's law" in bench.said


@BOTH
def test_arrivals_that_nobody_plays(bench: Bench, stub: Stub, tool: str) -> None:
    """Sixty a second, each a quarter of a second long, and four to play them; a closed model would just send less."""
    stub.kill()
    stub.start("--delay-s", "0.25")
    stages = [{"seconds": 1, "target": 60}, {"seconds": 3, "target": 60}]
    bench.scenario["profiles"] = {"rush": {"about": "", "users": 4, "model": "open", "stages": stages}}
    assert bench.load("--tool", tool, "--profile", "rush") == 3
    assert "arrivals that found nobody free" in bench.said


def test_killed_worker(bench: Bench) -> None:
    """Half of the users are gone, and Locust's master would go on with the rest."""

    def kill_a_worker(pid: int) -> None:
        psutil.Process(pid).children()[0].kill()

    assert bench.load("--processes", "2", "--seconds", "20", meddle=kill_a_worker) == 4
    assert "locust ended with 4" in bench.said
    assert "Worker 1 ended with -9" in bench.plan.log.read_text()


def test_killed_master(bench: Bench) -> None:
    """Locust's own workers would go on without it."""
    workers: list[psutil.Process] = []

    def kill_the_master(pid: int) -> None:
        workers.extend(psutil.Process(pid).children())
        os.kill(pid, signal.SIGKILL)

    assert bench.load("--processes", "2", "--seconds", "20", meddle=kill_the_master) == 4
    assert len(workers) == 2
    assert psutil.wait_procs(workers, timeout=10)[1] == []


# --- the ledger -----------------------------------------------------------------------------------------------------


@BOTH
def test_truncated_ledger(bench: Bench, tool: str) -> None:
    """Half of what was said is cut off in the middle of the load."""
    ledger = bench.plan.ledger
    assert bench.load("--tool", tool, meddle=lambda _pid: os.truncate(ledger, ledger.stat().st_size // 2)) == 3
    assert "The ledger was cut short" in bench.said


@BOTH
def test_deleted_ledger(bench: Bench, tool: str) -> None:
    """The tool writes on into a file without a name."""
    assert bench.load("--tool", tool, meddle=lambda _pid: bench.plan.ledger.unlink()) in (3, 4)


@BOTH
def test_full_disk(bench: Bench, tool: str) -> None:
    """Not one more byte for the ledger."""

    def fill(pid: int) -> None:
        size = bench.plan.ledger.stat().st_size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))

    assert bench.load("--tool", tool, meddle=fill) in (3, 4)


@pytest.mark.parametrize("jump_ms", [3_600_000, -60_000])
def test_clock_that_jumps(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, jump_ms: int) -> None:
    """k6 knows the wall clock alone, and somebody sets it: an hour on, or a minute back."""
    script = tmp_path / "jump.js"
    text = K6.script.read_text().replace("Date.now()", "now()")
    script.write_text(f"{text}\nfunction now() {{ return Date.now() + (steps > 8 ? {jump_ms} : 0); }}\n")
    monkeypatch.setattr(K6, "script", script)
    assert bench.load("--tool", "k6") == 3
    assert "so the clock jumped" in bench.said


# --- what should not start ------------------------------------------------------------------------------------------


def test_population_too_small(bench: Bench, people: population.Population) -> None:
    """Twelve users cannot be thirty."""
    assert bench.load("--users", "30") == 2
    assert "30 users are wanted" in bench.said


def test_profile_that_does_not_exist(bench: Bench) -> None:
    """Those there are, are named."""
    assert bench.load("--profile", "spiek") == 2
    assert "has no profile 'spiek'; use one of smoke, users-1000" in bench.said


# --- ended early on purpose -----------------------------------------------------------------------------------------


@BOTH
def test_fail_fast_ends_a_lost_load(bench: Bench, stub: Stub, tool: str) -> None:
    """A first failure loses a goal of none: the load of ten minutes is over at once, and has failed."""
    stub.kill()
    stub.start("--spoil")
    assert bench.load("--tool", tool, "--seconds", "600", "--fail-fast") == 1
    assert "STOPPED error rate cannot be met any more" in bench.said


def test_fail_fast_leaves_a_good_load_alone(bench: Bench) -> None:
    """It is played to its end."""
    assert bench.load("--tool", "k6", "--fail-fast") == 0, bench.said
    assert "STOPPED" not in bench.said
