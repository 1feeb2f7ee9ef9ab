"""k6 in several pods, as the operator starts it from the manifest, and one ledger afterwards that tells the truth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ci.kubernetes import check, k6_pods
from loadtests import population, tools
from loadtests.errors import LoadError, PlanError
from loadtests.history import History, read_history
from loadtests.population import Match, Player, Population, Tournament
from loadtests.scenario import GYM_DAY
from tests.loadtests.stub import Stub

PODS = ("gymkhana-k6-1", "gymkhana-k6-2")
USERS = 12


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    service = Stub(tmp_path / "applied")
    yield service
    service.kill()


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[[str], Path]:
    """Prepares a load of impatient users on a service, and gives its directory."""
    people = Population(
        run="seed",
        users=tuple(Player(number, f"u{number}", f"token-{number}") for number in range(1, USERS + 1)),
        tournaments=(Tournament(101, organiser=1, open=True),),
        matches=(Match(501, 1, 2, 101),),
        password="correct horse battery",
    )
    population.write(people, tmp_path / "people.json")
    scenario = json.loads(GYM_DAY.read_text()) | {"think": {"min_s": 0.05, "max_s": 0.15}, "samples_min": 20}
    (tmp_path / "quick.json").write_text(json.dumps(scenario))

    def prepare(url: str) -> Path:
        words = ["--url", url, "--users", str(USERS), "--ramp", "40", "--seconds", "2"]
        words += ["--scenario", str(tmp_path / "quick.json"), "--population", str(tmp_path / "people.json")]
        k6_pods.command.main(["prepare", str(tmp_path / "run"), *words], standalone_mode=False)
        return tmp_path / "run"

    return prepare


def described() -> dict[str, Any]:
    (found,) = [one for one in check.documents((check.HERE / "k6.yaml").read_text()) if one["kind"] == "TestRun"]
    return dict(found["spec"])


class Kubelet:
    """The manifest's variables and arguments as they reach the container of a pod; the volume is `runs`."""

    def __init__(self, runs: Path, pod: str) -> None:
        self.runs = runs
        self.told: dict[str, str] = {}
        for variable in described()["runner"]["env"]:
            source = variable.get("valueFrom", {})
            if "fieldRef" in source:
                assert source["fieldRef"]["fieldPath"] == "metadata.labels['job-name']"
                self.told[variable["name"]] = pod
            elif "configMapKeyRef" in source:
                self.told[variable["name"]] = "run"
            else:
                self.told[variable["name"]] = self.expanded(variable["value"])
        self.environment = os.environ | self.told

    def expanded(self, text: str) -> str:
        for name, value in self.told.items():
            text = text.replace(f"$({name})", value)
        return text.replace("/runs/", f"{self.runs}/")

    @property
    def arguments(self) -> list[str]:
        return [self.expanded(word) for word in described()["arguments"].split()]


def played(directory: Path) -> list[int]:
    """The load is played by as many k6 as there are pods, each told its share as the operator does; their exit codes."""
    running = []
    for index, pod in enumerate(PODS, 1):
        kubelet = Kubelet(directory.parent, pod)
        share = [f"--execution-segment={index - 1}/2:{index}/2", "--execution-segment-sequence=0,1/2,1"]
        words = [tools.find_k6(), "run", "--quiet", *share, *kubelet.arguments, str(tools.K6.script), "--address", ""]
        running.append(subprocess.Popen(words, env=kubelet.environment, stderr=subprocess.DEVNULL))
    return [one.wait(60) for one in running]


def collected(directory: Path) -> tuple[History, tuple[str, ...]]:
    plan, flaws = k6_pods.collect(directory, PODS)
    return read_history(plan.ledger), flaws


@pytest.mark.processes
def test_pods_share_the_users_and_one_ledger_holds_what_all_of_them_did(
    prepared: Callable[[str], Path], stub: Stub
) -> None:
    stub.start()
    directory = prepared(stub.url)
    assert played(directory) == [0, 0]
    history, flaws = collected(directory)
    assert (flaws, history.cut_short) == ((), "")
    assert sorted(user.user for user in history.users if user.up) == list(range(1, USERS + 1))
    assert sorted(user.user for user in history.users if not user.up) == list(range(1, USERS + 1))
    writes = {write.op: write.digest for write in history.writes() if write.outcome == "ok"}
    assert writes
    assert writes == stub.applied()
    last = max(done.t + done.d for done in history.dones)
    assert all(user.t <= last + 0.001 for user in history.users)


@pytest.mark.processes
def test_the_operators_first_look_at_the_script_finds_nothing_wrong(
    prepared: Callable[[str], Path], stub: Stub, tmp_path: Path
) -> None:
    """It packs the script with its files, and asks the package what it needs."""
    stub.start()
    directory = prepared(stub.url)
    kubelet = Kubelet(directory.parent, "gymkhana-k6-initializer")
    package = tmp_path / "script.tar"
    variables = [word for name, value in kubelet.told.items() for word in ("-e", f"{name}={value}")]
    arguments = [word for word in kubelet.arguments if word != "--no-usage-report"]
    words = [tools.find_k6(), "archive", str(tools.K6.script), *variables, "-O", str(package), *arguments]
    subprocess.run(words, env=kubelet.environment, check=True, capture_output=True)
    words = [tools.find_k6(), "inspect", "--execution-requirements", str(package)]
    asked = subprocess.run(words, env=kubelet.environment, check=True, capture_output=True, text=True)
    assert json.loads(asked.stdout)["maxVUs"] == USERS
    assert "error" not in asked.stderr


@pytest.mark.processes
def test_the_verdict_is_the_exit_code(prepared: Callable[[str], Path], stub: Stub) -> None:
    stub.start()
    directory = prepared(stub.url)
    assert played(directory) == [0, 0]
    (directory / "pods" / f"{PODS[1]}.json").unlink()
    words = [sys.executable, "-m", k6_pods.__name__, "collect", str(directory), *PODS]
    judged = subprocess.run(words, capture_output=True, text=True, check=False)
    assert judged.returncode == 3, judged.stderr
    assert "UNKNOWN gymkhana-k6-2 did not live to its end" in judged.stdout
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (2, "")
    assert "has been collected before" in again.stderr


def left(directory: Path, pod: str, users: tuple[int, ...], *, counted: int = 1, torn: str = "") -> None:
    """What a pod leaves that played one write of each of these users at second 1000."""
    lines = []
    for user in users:
        lines.append({"k": "user", "user": user, "tw": 1000.0, "up": True})
        write = {"op": f"R.{user}.1", "flow": "points", "user": user, "tw": 1001.0}
        lines.append({"k": "invoke", **write})
        lines.append({"k": "done", **write, "d": 0.5, "status": 201, "outcome": "ok", "write": True})
    text = "".join(json.dumps(line) + "\n" for line in lines) + torn
    (directory / "pods" / f"{pod}.jsonl").write_text(text)
    counters = {"invoked": counted * len(users), "done": counted * len(users)}
    (directory / "pods" / f"{pod}.json").write_text(json.dumps(counters))


def test_accounts_that_balance_are_one_whole_ledger(prepared: Callable[[str], Path]) -> None:
    directory = prepared("http://service")
    left(directory, PODS[0], (1, 3))
    left(directory, PODS[1], (2,))
    history, flaws = collected(directory)
    assert (flaws, history.cut_short) == ((), "")
    assert [write.op for write in history.writes()] == ["R.1.1", "R.3.1", "R.2.1"]
    (clock,) = history.clocks
    assert {round(done.t - clock.mono + clock.wall, 3) for done in history.dones} == {1001.0}
    assert {round(user.t - clock.mono + clock.wall, 3) for user in history.users if not user.up} == {1001.5}


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"users": (2,), "counted": 2}, "gymkhana-k6-2 wrote 1 of 2 invoke lines"),
        ({"users": (2,), "torn": '{"k":"done"'}, "gymkhana-k6-2 did not live to its end"),
        ({"users": ()}, "gymkhana-k6-2 wrote nothing"),
        ({"users": (3,)}, "user 3 was in 2 pods"),
        (None, "gymkhana-k6-2 wrote nothing"),
    ],
)
def test_accounts_that_do_not_balance_make_no_whole_ledger(
    prepared: Callable[[str], Path], second: dict[str, Any] | None, said: str
) -> None:
    directory = prepared("http://service")
    left(directory, PODS[0], (1, 3))
    if second is not None:
        left(directory, PODS[1], **second)
    history, flaws = collected(directory)
    assert said in flaws
    assert "has no end line" in history.cut_short


def test_what_was_not_prepared_is_not_collected(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="holds no plan"):
        k6_pods.collect(tmp_path, PODS)


def test_a_directory_in_use_is_refused(prepared: Callable[[str], Path]) -> None:
    prepared("http://service")
    with pytest.raises(LoadError, match="is not empty"):
        prepared("http://service")
