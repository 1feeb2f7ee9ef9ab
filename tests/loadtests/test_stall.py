"""A service that stands still for six seconds: what its users report, and what the corrected percentiles say of it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ci.cli import gymkhana
from loadtests.history import Tail
from loadtests.ledger import Done
from loadtests.plan import LoadPlan
from loadtests.reference_process import Reference, serving

pytestmark = pytest.mark.processes

PlanMaker = Callable[..., LoadPlan]

USERS = 20
SECONDS = 24.0
STOP_S = 6.0


class Stall:
    """Stops the process a while after the ledger has begun, and lets it go on."""

    def __init__(self, pid: int, ledger: Path) -> None:
        self.seconds = 0.0
        self._pid = pid
        self._tail = Tail(ledger)
        self._thread = threading.Thread(target=self._stall, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _stall(self) -> None:
        served, wait, deadline = 0, threading.Event(), time.monotonic() + 60
        while served < 1000 and time.monotonic() < deadline:
            served += sum(isinstance(line, Done) for line in self._tail.poll())
            wait.wait(0.1)
        os.kill(self._pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            wait.wait(STOP_S)
        finally:
            os.kill(self._pid, signal.SIGCONT)
            self.seconds = time.monotonic() - began


def load(plan: LoadPlan, reference: Reference, *options: str) -> str:
    arguments = ["load", "--url", reference.url, "--tool", "k6", "--users", str(USERS), "--ramp", "40", *options]
    arguments += ["--scenario", str(plan.scenario), "--population", str(plan.population)]
    return CliRunner().invoke(gymkhana, [*arguments, "--directory", str(plan.directory)]).stdout


def test_six_seconds_of_silence_are_hidden_raw_and_seen_corrected(
    quick_plan: PlanMaker, scenario_text: dict[str, Any], tmp_path: Path
) -> None:
    """Requests would have come evenly, so one in a hundred of all the time's waited longer than the stop less 1 % of it."""
    plan = quick_plan("http://127.0.0.1:9")
    plan.scenario.write_text(json.dumps(scenario_text | {"think": {"min_s": 0.02, "max_s": 0.06}, "timeout_s": 15}))
    with serving(plan.scenario, plan.population, plan.seed, tmp_path / "log") as reference:
        stall = Stall(reference.pid, plan.ledger)
        said = load(plan, reference, "--seconds", str(SECONDS), "--json")
        stall.join()
    document = json.loads(said)
    raw, corrected = document["omission"]["raw"]["p99_ms"], document["omission"]["corrected"]["p99_ms"]
    analytic = (stall.seconds - 0.01 * document["seconds"]) * 1000
    print(f"p99 raw {raw:.0f} ms, corrected {corrected:.0f} ms, analytic {analytic:.0f} ms")
    assert stall.seconds >= STOP_S
    assert document["total"]["failures"] == 0
    assert raw == document["total"]["p99_ms"]
    assert raw < 1000
    assert corrected == pytest.approx(analytic, rel=0.1)


def test_both_are_printed_with_their_names(quick_plan: PlanMaker, tmp_path: Path) -> None:
    plan = quick_plan("http://127.0.0.1:9")
    with serving(plan.scenario, plan.population, plan.seed, tmp_path / "log") as reference:
        lines = load(plan, reference, "--seconds", "2").splitlines()
    named = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(("raw ", "corrected "))}
    assert set(named) == {"raw", "corrected"}
    assert all(len(figures) == 4 for figures in named.values())
    assert any(line.startswith("Coordinated omission, closed model: with the ") for line in lines)
