"""Companions are published as faults look for them, end with the stand, and come back at the same place."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos import service
from ci.companions import Companions
from ci.stand import Stand
from tests.chaos.stand import wait_until

pytestmark = pytest.mark.processes

DEAF = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
)


@pytest.fixture
def companions(tmp_path: Path) -> Iterator[Companions]:
    stand = Stand(tmp_path)
    (tmp_path / "logs").mkdir()
    yield stand.companions
    stand.companions.close()
    assert not stand.leases.paths()


def living(companions: Companions) -> dict[str, int]:
    return {name: one.pid for name, one in service.living(companions.directory).items()}


def test_a_companion_is_published_while_it_lives(companions: Companions) -> None:
    companions.start("scheduler", ["sleep", "600"])
    companions.start("object-store", ["sleep", "600"])
    assert living(companions).keys() == {"scheduler", "object-store"}
    assert companions.alive("scheduler")
    assert companions.stop("scheduler") == -signal.SIGTERM
    assert living(companions).keys() == {"object-store"}
    assert not companions.alive("scheduler")


def test_one_that_was_killed_behind_our_back_is_dead_and_can_be_started_again(companions: Companions) -> None:
    companions.start("scheduler", ["sleep", "600"])
    (first,) = living(companions).values()
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert not companions.alive("scheduler")
    companions.start("scheduler", ["sleep", "600"])
    assert living(companions)["scheduler"] != first


def test_a_companion_has_its_own_environment_and_log(companions: Companions) -> None:
    companions.start("scheduler", ["sh", "-c", "echo $COLOUR"], {"COLOUR": "blue"})
    wait_until(lambda: not companions.alive("scheduler"))
    assert (companions.logs / "scheduler.log").read_text() == "blue\n"


def test_one_that_does_not_listen_is_killed(companions: Companions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ci.companions.STOP_TIMEOUT_S", 0.1)
    companions.start("scheduler", DEAF)
    wait_until(lambda: b"deaf" in (companions.logs / "scheduler.log").read_bytes())
    assert companions.stop("scheduler") == -signal.SIGKILL


def test_what_never_ran_ends_without_error(companions: Companions) -> None:
    assert companions.stop("scheduler") == 0
    companions.kill("scheduler")


def test_no_stand_alarms_anybody_or_tells_of_its_backups(
    companions: Companions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs a drill may have a service of their own, with people who look after it."""
    monkeypatch.setenv("GYM_ALERT_WEBHOOKS", "https://pager.example.org")
    monkeypatch.setenv("GYM_STATUS_DIR", "/srv/gym/status")
    monkeypatch.setenv("GYM_STORE_DEMO", "1")
    told = tmp_path / "told"
    companions.start("env", ["sh", "-c", f"env > {told}.partial; mv {told}.partial {told}; sleep 600"])
    wait_until(told.exists)
    names = {line.partition("=")[0] for line in told.read_text().splitlines() if line.startswith("GYM_")}
    assert names & {"GYM_ALERT_WEBHOOKS", "GYM_STATUS_DIR", "GYM_STORE_DEMO"} == {"GYM_STORE_DEMO"}
