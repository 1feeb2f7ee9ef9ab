"""Leases: written before, undone once, by whoever comes first, and never for somebody else's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos import guard
from chaos.errors import AtWork, ChaosError, NotGuarded, NotHealed, NothingToBreak
from chaos.fault import make
from chaos.identity import Identity
from chaos.lease import Lease, Leases, heal_all
from chaos.undo import Continue, EndProcess, Original, PutBytesBack, RemoveFile
from tests.chaos.stand import ROOT, Stand, wait_until

pytestmark = pytest.mark.processes

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]


class Child:
    """A child process, as it is and by identity; gone after the block."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline()
        found = Identity.of(self.process.pid)
        assert found is not None
        self.identity = found

    def __enter__(self) -> Identity:
        return self.identity

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.process.kill()


def stale(leases: Leases, *undo: dict[str, object], boot: str | None = None) -> Path:
    """A lease as a runner wrote it that is gone by now, from this boot or an earlier one."""
    me = Identity.of(os.getpid())
    assert me is not None
    owner = {"pid": me.pid, "start_ticks": me.start_ticks - 1, "boot": boot or me.boot}
    leases.directory.mkdir(exist_ok=True)
    path = leases.directory / "00000000000000000001-1-left.json"
    path.write_text(json.dumps({"format": 1, "what": "left", "owner": owner, "expires_t": 1e12, "undo": undo}))
    return path


def test_a_lease_is_plain_data(tmp_path: Path) -> None:
    """Whoever finds one can read what is to be undone, for whom and until when."""
    before = time.monotonic()
    lease = Leases(tmp_path).take("pause-service", RemoveFile("/nowhere/at/all"), seconds=60)
    held = json.loads(lease.path.read_text())
    assert held["what"] == "pause-service"
    assert held["owner"]["pid"] == os.getpid()
    assert before + 60 <= held["expires_t"] <= time.monotonic() + 60
    assert held["undo"] == [{"undo": "remove-file", "path": "/nowhere/at/all"}]
    lease.close()
    assert not Leases(tmp_path).paths()


def test_undoing_twice_is_as_good_as_once(tmp_path: Path) -> None:
    file = tmp_path / "armed"
    file.touch()
    lease = Leases(tmp_path / "leases").take("x", RemoveFile(str(file)), seconds=60)
    again = Lease.read(lease.path)
    lease.undo()
    file.touch()
    again.undo()
    assert file.exists(), "it had ended, so the second undo had nothing to say"


def test_closing_undoes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "armed"
    file.touch()
    lease = Leases(tmp_path / "leases").take("x", RemoveFile(str(file)), seconds=60)
    lease.close()
    lease.undo()
    assert file.exists()
    assert lease.ended


def test_an_expired_lease_is_undone_by_the_watchdog(tmp_path: Path) -> None:
    file = tmp_path / "armed"
    file.touch()
    lease = Leases(tmp_path / "leases").take("x", RemoveFile(str(file)), seconds=0.1)
    wait_until(lambda: lease.ended)
    assert not file.exists()
    wait_until(lambda: "undid x" in (tmp_path / "leases" / "watchdog.log").read_text())


def test_nobody_undoes_what_is_being_done(tmp_path: Path) -> None:
    """A fault that is slow to act is not undone half-way, even when its time is up; a moment later it is."""
    file = tmp_path / "armed"
    lease = Leases(tmp_path / "leases").take("x", RemoveFile(str(file)), seconds=60)
    with lease.acting():
        with pytest.raises(AtWork, match="right now"):
            Lease.read(lease.path).undo(patience_s=0.05)
        file.touch()
        lease = lease.renewed(0.0)
    wait_until(lambda: lease.ended)
    assert not file.exists()


def test_a_fault_that_begins_after_its_undo_does_nothing(tmp_path: Path) -> None:
    lease = Leases(tmp_path).take("x", seconds=60)
    Lease.read(lease.path).undo()
    with pytest.raises(ChaosError, match="too late"):
        lease.acting().__enter__()


def test_time_is_counted_from_the_bite_on(tmp_path: Path) -> None:
    lease = Leases(tmp_path).take("x", seconds=60)
    now = time.monotonic()
    with lease.acting():
        assert now + 5 <= (lease.renewed(5).record.expires_t or 0) <= time.monotonic() + 5
    lease.close()


def test_the_next_start_heals_what_a_dead_runner_left(tmp_path: Path) -> None:
    file = tmp_path / "armed"
    file.touch()
    leases = Leases(tmp_path / "leases")
    stale(leases, {"undo": "remove-file", "path": str(file)})
    assert [lease.record.what for lease in leases.heal_abandoned()] == ["left"]
    assert not file.exists()
    assert leases.heal_abandoned() == []


def test_the_next_start_leaves_a_living_runner_alone(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    lease = leases.take("x", RemoveFile(str(tmp_path / "armed")), seconds=60)
    assert leases.heal_abandoned() == []
    assert not lease.ended
    assert [one.record.what for one in heal_all(tmp_path)] == ["x"], "asked for by a person, everything is undone"


def test_heal_all_leaves_a_living_runner_its_processes(tmp_path: Path) -> None:
    with Child(SLEEP) as sleeper:
        lease = Leases(tmp_path).end_process(sleeper.pid, "service")
        assert heal_all(tmp_path) == []
        assert sleeper.alive
        lease.close()


def test_a_lease_of_an_earlier_boot_signals_nobody(tmp_path: Path) -> None:
    """The pids in it, and even the start times, may belong to anybody now."""
    with Child(SLEEP) as sleeper:
        leases = Leases(tmp_path)
        process = {"pid": sleeper.pid, "start_ticks": sleeper.start_ticks, "boot": "another"}
        stale(leases, {"undo": "kill", "processes": [process]}, boot="another")
        leases.heal_abandoned()
        assert sleeper.alive


def test_a_pid_that_came_back_is_not_signalled(tmp_path: Path) -> None:
    with Child(SLEEP) as sleeper:
        stranger = Identity(sleeper.pid, sleeper.start_ticks - 1, sleeper.boot)
        EndProcess((stranger,)).undo(tmp_path)
        assert sleeper.alive
        assert not stranger.alive
        assert not stranger.signal(signal.SIGKILL)


@pytest.mark.parametrize("command", [SLEEP, DEAF], ids=["polite", "deaf to SIGTERM"])
def test_a_runners_processes_end_with_it(tmp_path: Path, command: list[str]) -> None:
    """The runner is killed; its service, that never heard of leases, is asked to end, then made to."""
    script = (
        "import subprocess, sys, time; from chaos.lease import Leases; from pathlib import Path\n"
        f"child = subprocess.Popen({command!r}, stdout=subprocess.PIPE); child.stdout.readline()\n"
        "Leases(Path(sys.argv[1])).end_process(child.pid, 'service'); print(child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        process = Identity.of(int(runner.stdout.readline()))
        assert process is not None
        runner.kill()
    wait_until(lambda: not process.alive, timeout_s=10.0)
    wait_until(lambda: not Leases(tmp_path).paths())


def test_a_stopped_process_is_ended_too(tmp_path: Path) -> None:
    with Child(SLEEP) as sleeper:
        sleeper.signal(signal.SIGSTOP)
        sleeper.wait_until(stopped=True, timeout_s=5)
        EndProcess((sleeper,)).undo(tmp_path)
        assert not sleeper.alive


def test_stopped_processes_go_on(tmp_path: Path) -> None:
    with Child(SLEEP) as sleeper:
        sleeper.signal(signal.SIGSTOP)
        assert sleeper.wait_until(stopped=True, timeout_s=5)
        Continue((sleeper,)).undo(tmp_path)
        wait_until(lambda: not sleeper.stopped)
        assert sleeper.alive


def test_bytes_are_put_back_unless_the_file_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "object"
    file.write_bytes(b"0123456789")
    undo = PutBytesBack(str(file), (Original(2, b"ab"), Original(7, b"x")))
    undo.undo(tmp_path)
    undo.undo(tmp_path)
    assert file.read_bytes() == b"01ab456x89"
    file.unlink()
    undo.undo(tmp_path)
    assert not file.exists()


def test_there_is_nobody_to_end(tmp_path: Path) -> None:
    with pytest.raises(NothingToBreak, match="ended already"):
        Leases(tmp_path).end_process(2**22 + 1, "service")


def test_a_lease_that_makes_no_sense_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "00000000000000000001-1-odd.json"
    path.write_text('{"what": "odd"}')
    with pytest.raises(NotHealed, match="not an undo lease"):
        heal_all(tmp_path)


def test_without_a_watchdog_nothing_is_done(serving: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NotGuarded, match="nothing was done"):
        make("pause-service").inject(serving.target).__enter__()
    assert not any(process.stopped for process in serving.processes().values())
    assert not serving.leases.paths()


def test_without_a_place_for_leases_nothing_is_done(serving: Stand) -> None:
    serving.leases.directory.write_text("a file is in the way")
    with pytest.raises(NotGuarded, match="nothing was done"):
        make("pause-service").inject(serving.target).__enter__()
    assert not any(process.stopped for process in serving.processes().values())


def test_one_watchdog_watches_a_directory(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    first = leases.take("a", seconds=60)
    watchdog = (tmp_path / guard.LOCK).read_text()
    second = leases.take("b", seconds=60)
    assert (tmp_path / guard.LOCK).read_text() == watchdog
    assert guard.acquire(tmp_path) is None
    first.close()
    second.close()


def test_the_watchdog_is_out_of_reach_of_ctrl_c(tmp_path: Path) -> None:
    lease = Leases(tmp_path).take("a", seconds=60)
    watchdog = int((tmp_path / guard.LOCK).read_text())
    assert os.getsid(watchdog) != os.getsid(0)
    assert os.getpgid(watchdog) != os.getpgid(0)
    lease.close()
