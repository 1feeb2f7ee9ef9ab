"""`kill -9` at every step of everything that writes: hundreds of points, and after each of them all is as promised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import soak
from tests.backups import databases, sweep

pytestmark = pytest.mark.processes

AT_LEAST = {"full": 35, "incremental": 35, "consolidate": 55, "verify": 30, "exchange": 30, "repair": 30, "prune": 30}
"""Points that a scenario has to offer, so that a sweep that hits nothing does not pass for one that finds nothing."""


def swept(scenario: str, directory: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", sweep.__name__, scenario, str(directory)]
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=soak.rounds(110, 1100), cwd=databases.ROOT
    )
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


@pytest.mark.parametrize("scenario", list(sweep.SCENARIOS))
def test_killed_at_any_step_nothing_partial_is_listed_and_nothing_is_lost(scenario: str, tmp_path: Path) -> None:
    told = swept(scenario, tmp_path)
    assert told["wrong"] == []
    assert told["points"] >= AT_LEAST[scenario]
    assert told["calls"]["fsync"] > 0


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        ("careless repair", "neither old nor new, and not marked"),
        ("careless backup", "is listed as suspect"),
        ("careless prune", "leads nowhere"),
    ],
)
def test_carelessness_is_noticed_by_the_sweep(scenario: str, says: str, tmp_path: Path) -> None:
    assert any(says in wrong for wrong in swept(scenario, tmp_path)["wrong"])


def test_the_sweep_is_of_two_hundred_points_at_least() -> None:
    assert sum(AT_LEAST.values()) >= 200
