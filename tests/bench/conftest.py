"""Where benchmarks put their figures: one file for each module under var/bench/, and one table at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench.figures import Row, table, write

BENCH = Path(__file__).parents[2] / "var" / "bench"

_FOUND = pytest.StashKey[dict[str, list[Row]]]()

Report = Callable[[Row], None]
Timed = Callable[[Callable[[], Any], int], list[float]]


def pytest_configure(config: pytest.Config) -> None:
    """No figure is known yet."""
    config.stash[_FOUND] = {}


@pytest.fixture
def bench() -> Path:
    """The directory of the figures, on the disk that the project lies on."""
    BENCH.mkdir(parents=True, exist_ok=True)
    return BENCH


@pytest.fixture
def report(request: pytest.FixtureRequest, bench: Path) -> Report:
    """Adds a row to the module's file, which is named after the module."""
    found = request.config.stash[_FOUND]
    name = request.path.stem.removeprefix("test_").removesuffix("_speed")

    def add(row: Row) -> None:
        found.setdefault(name, []).append(row)
        write(bench, name, found[name])

    return add


@pytest.fixture
def timed(benchmark: Any) -> Timed:
    """Runs a function that many times after once to warm up; how long each took, in seconds."""

    def run(function: Callable[[], Any], rounds: int) -> list[float]:
        benchmark.pedantic(function, rounds=rounds, warmup_rounds=1)
        return list(benchmark.stats.stats.data)

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of every figure, under the files it was written to."""
    found = config.stash[_FOUND]
    if not found:
        return
    terminalreporter.section("figures, also in var/bench/")
    for line in table(found):
        terminalreporter.write_line(line)
