"""A master and its workers as processes of their own: those the load starts, and those that people start elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from loadtests.errors import PlanError
from loadtests.history import read_history
from loadtests.ledger import User
from loadtests.plan import PLAN_FILE, LoadPlan
from loadtests.tools import load_tool, prepare, worker_process
from tests.loadtests.stub import Stub

pytestmark = pytest.mark.processes

PlanMaker = Callable[..., LoadPlan]
Until = Callable[[Callable[[], bool]], None]
GYMKHANA = (sys.executable, "-m", "ci.cli")


def users_of(path: Path) -> set[int]:
    return {user.user for user in read_history(path).users if isinstance(user, User)}


def test_master_waits_for_workers_started_elsewhere(stub: Stub, quick_plan: PlanMaker, tmp_path: Path) -> None:
    """`gymkhana load --workers 2` and twice `gymkhana load worker`: three processes, one ledger, accounts that balance."""
    stub.start()
    plan = quick_plan(stub.url)
    scenario = json.loads(plan.scenario.read_text())
    scenario["levels"] = [{"measure": "errors", "gate_share": 0}]
    plan.scenario.write_text(json.dumps(scenario))
    command = [*GYMKHANA, "load", "--url", stub.url, "--scenario", str(plan.scenario), "--json", "--workers", "2"]
    command += ["--population", str(plan.population), "--directory", str(plan.directory), "--users", "12"]
    command += ["--ramp", "40", "--seconds", "3"]
    master = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert master.stderr is not None
    assert master.stderr.readline() == "Waiting for 2 workers:\n"
    typed = master.stderr.readline().split()
    address = typed[typed.index("--master") + 1]
    workers = [
        subprocess.Popen([*GYMKHANA, "load", "worker", str(plan.directory), "--master", address, "--number", number])
        for number in ("1", "2")
    ]
    try:
        document, _ = master.communicate(timeout=60)
        assert [worker.wait(20) for worker in workers] == [0, 0]
    finally:
        master.kill()
        master.wait()
        for worker in workers:
            worker.kill()
            worker.wait()
    assert json.loads(document)["verdict"] == "pass"
    parts = [plan.directory / f"ledger-{number}.jsonl" for number in (1, 2)]
    assert users_of(parts[0]) | users_of(parts[1]) == set(range(1, 13))
    assert not users_of(parts[0]) & users_of(parts[1])
    whole, histories = read_history(plan.ledger), [read_history(part) for part in parts]
    assert whole.cut_short == ""
    assert len(whole.dones) == sum(len(history.dones) for history in histories) > 0
    assert len(whole.invokes) == sum(len(history.invokes) for history in histories)


def test_master_listens_where_it_is_told_and_nowhere_else(stub: Stub, quick_plan: PlanMaker, until: Until) -> None:
    """Locust's own `--processes` listens on every interface."""
    stub.start()
    plan = quick_plan(stub.url, processes=2)
    with load_tool("locust").start(plan) as load:
        master = psutil.Process(load.pid)
        until(lambda: any(one.status == psutil.CONN_LISTEN for one in master.net_connections()))
        addresses = {one.laddr.ip for one in master.net_connections() if one.status == psutil.CONN_LISTEN}
        until(lambda: all(ledger.exists() and ledger.read_bytes().count(b"\n") > 20 for ledger in plan.ledgers))
        load.stop()
    assert addresses == {"127.0.0.1"}
    assert load.fault == ""
    assert read_history(plan.ledger).cut_short == ""


def test_worker_needs_a_load_that_waits(tmp_path: Path) -> None:
    """A directory without a plan is somebody's mistake."""
    with pytest.raises(PlanError, match="holds no plan"):
        worker_process(tmp_path, "127.0.0.1:1", 1)


def test_worker_too_many_or_twice_is_refused(quick_plan: PlanMaker) -> None:
    """Each number is one worker's."""
    plan = quick_plan("http://127.0.0.1:9", processes=2, master="127.0.0.1:1")
    prepare(plan)
    assert (plan.directory / PLAN_FILE).exists()
    with pytest.raises(PlanError, match="Worker 3 is one too many: the load waits for 2"):
        worker_process(plan.directory, "127.0.0.1:1", 3)
    plan.ledgers[0].write_text("")
    with pytest.raises(PlanError, match="Worker 1 is there already"):
        worker_process(plan.directory, "127.0.0.1:1", 1)


def test_master_that_cannot_listen_says_so(stub: Stub, quick_plan: PlanMaker) -> None:
    """The address is the service's own."""
    stub.start()
    plan = quick_plan(stub.url, processes=2, master=f"127.0.0.1:{stub.port}")
    with load_tool("locust").start(plan) as load:
        load.wait(30)
    assert "The master cannot listen on 127.0.0.1" in load.fault


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"processes": 0}, "0 processes were asked for"),
        ({"processes": 13}, "13 processes cannot share 12 users"),
    ],
)
def test_processes_that_make_no_sense(quick_plan: PlanMaker, changes: dict[str, int], complaint: str) -> None:
    """One sentence each."""
    (fault,) = quick_plan("http://127.0.0.1:9", **changes).faults()
    assert fault.startswith(complaint)


def test_k6_has_no_workers(quick_plan: PlanMaker) -> None:
    """It uses every core by itself."""
    with pytest.raises(PlanError, match="k6 plays a load in one process"):
        load_tool("k6").start(quick_plan("http://127.0.0.1:9", processes=2))
