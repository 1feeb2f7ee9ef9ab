"""The drill as a user runs it: from the command line, interrupted, killed, judged again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ci.record import read
from system.supervisor import start_time

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

DRILL = [sys.executable, "-m", "ci.cli", "drill"]


def gymkhana(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ci.cli", *arguments], capture_output=True, text=True, timeout=200, check=False
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The whole of the most eventful drill, with 100 users: two backups, two faults, a refusal, a restore."""
    runs = tmp_path_factory.mktemp("runs")
    arguments = ("drill", "run", "corrupt-newest-backup", "--users", "100", "--quick", "--runs", str(runs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GYM_STATUS_DIR", str(runs / "status"))
        return gymkhana(*arguments), runs


def test_a_drill_passes_and_says_so(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, runs = finished
    assert done.returncode == 0, done.stdout + done.stderr
    run = read(runs / "latest" / "run.json")
    assert run.verdict == "pass"
    assert [backup.fate for backup in run.backups] == ["restored", "refused"]
    assert run.rpo is not None
    assert {lost.op for lost in run.rpo.lost_writes} == set(run.findings.lost)
    assert "BACKUP-REFUSED" in done.stdout


def test_the_service_is_told_how_it_went(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, runs = finished
    told = json.loads((runs / "status" / "drills.json").read_bytes())
    assert {name: one["verdict"] for name, one in told.items()} == {"corrupt-newest-backup": "pass"}


def test_every_file_of_a_run_is_there(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    latest = finished[1] / "latest"
    for name in ("ledger.jsonl", "canary.jsonl", "events.jsonl", "samples.jsonl", "restore.json", "survivors.jsonl",
                 "state.json", "run.json", "report.html", "junit.xml", "summary.md"):  # fmt: skip
        assert (latest / name).stat().st_size > 0, name
    assert (latest / "report.html").stat().st_size < 400_000


def test_the_operator_is_not_told_of_a_finished_stand(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    latest = finished[1] / "latest"
    assert list((latest / "leases").glob("*.json")) == []
    assert not (latest / "db" / "gym.runtime" / "processes.json").exists()


def test_judging_again_gives_the_same_verdict(finished: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, runs = finished
    before = (runs / "latest" / "run.json").read_bytes()
    again = gymkhana("drill", "judge", str(runs / "latest"), "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["verdict"] == "pass"
    assert (runs / "latest" / "run.json").read_bytes() == before


def test_a_dry_run_touches_nothing(tmp_path: Path) -> None:
    done = gymkhana("drill", "run", "all", "--dry-run", "--runs", str(tmp_path / "runs"))
    assert done.returncode == 0
    assert "delete-database" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_an_unknown_drill_is_a_usage_error_with_the_nearest_name() -> None:
    done = gymkhana("drill", "run", "crahs")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean crash?" in done.stderr


def test_an_unknown_run_is_a_usage_error(tmp_path: Path) -> None:
    done = gymkhana("drill", "judge", "nowhere", "--runs", str(tmp_path))
    assert done.returncode == 2
    assert "There is no run nowhere" in done.stderr


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


class Started:
    """A drill in a process of its own, followed until its service runs."""

    def __init__(self, runs: Path) -> None:
        arguments = ["run", "crash", "--users", "20", "--quick", "--runs", str(runs)]
        self.process = subprocess.Popen(
            [*DRILL, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        self.services: dict[int, float] = {}
        until(lambda: any(runs.glob("*/generator.jsonl")), 60)
        for file in runs.glob("*/db/gym.runtime/processes.json"):
            self.services = {int(one["pid"]): one["start"] for one in json.loads(file.read_text()).values()}
        assert len(self.services) == 3

    def anything_left(self) -> bool:
        return any(start_time(pid) == start and not _zombie(pid) for pid, start in self.services.items())


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    drill = Started(tmp_path)
    yield drill
    if drill.process.poll() is None:
        drill.process.kill()
    drill.process.wait()


def test_ctrl_c_cleans_up_everything(started: Started) -> None:
    started.process.send_signal(signal.SIGINT)
    assert started.process.wait(30) == 130
    assert not started.anything_left()


def test_a_killed_runner_leaves_nothing_behind_ten_seconds_later(started: Started) -> None:
    os.kill(started.process.pid, signal.SIGKILL)
    started.process.wait()
    until(lambda: not started.anything_left(), 10)


@pytest.mark.parametrize("tool", ["locust", "k6"])
def test_a_load_runs_on_a_stand_of_its_own(tool: str, tmp_path: Path) -> None:
    done = gymkhana(
        "load", "--tool", tool, "--users", "20", "--ramp", "20", "--seconds", "6", "--directory", str(tmp_path / "load"),
        "--json",
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr  # six seconds are too few samples for a percentile, never a failure
    accounts = {one["id"]: one["result"] for one in json.loads(done.stdout)["accounts"]}
    assert set(accounts.values()) == {"pass"}
    assert {"DATA-LOST", "UNKNOWN-RESOLVED", "POINTS"} <= accounts.keys()
    assert (tmp_path / "load" / "ledger.jsonl").stat().st_size > 0
