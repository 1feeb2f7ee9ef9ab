"""A platform for each test: fresh, after a busy day, or behind HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.front import Front
from tests.system.gym import Gym, busy_day


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an empty database and one after a busy day, to be copied: making them takes longer than a test."""
    directory = tmp_path_factory.mktemp("templates")
    Gym(directory / "empty.db").close()
    busy = Gym(directory / "busy.db")
    busy_day(busy)
    busy.close()
    return directory


@pytest.fixture
def gym(templates: Path, tmp_path: Path) -> Iterator[Gym]:
    """A platform where nothing has happened yet."""
    gym = Gym(Path(shutil.copy(templates / "empty.db", tmp_path / "gym.db")))
    yield gym
    gym.close()


@pytest.fixture
def busy(templates: Path, tmp_path: Path) -> Iterator[Gym]:
    """A platform after `busy_day`."""
    gym = Gym(Path(shutil.copy(templates / "busy.db", tmp_path / "gym.db")))
    yield gym
    gym.close()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A platform behind HTTP, shared by the tests of a module."""
    with Front(tmp_path_factory.mktemp("front")) as front:
        yield front
