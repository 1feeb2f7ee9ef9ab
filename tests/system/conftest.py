"""A platform for each test: fresh, after a busy day, or behind HTTP, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backups.postgres.server import Server
from tests.system.front import Front
from tests.system.gym import Gym, PostgresGym, SqliteGym, busy_day

ENGINES = ("sqlite", pytest.param("postgres", marks=pytest.mark.processes))
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an empty database and one after a busy day, to be copied: making them takes longer than a test."""
    directory = tmp_path_factory.mktemp("templates")
    SqliteGym(directory / "empty.db").close()
    busy = SqliteGym(directory / "busy.db")
    busy_day(busy)
    busy.close()
    return directory


@pytest.fixture(scope="session")
def postgres_templates(postgres: Server) -> Server:
    """A server with the same two as databases."""
    PostgresGym(postgres, "empty").close(drop=False)
    busy = PostgresGym(postgres, "busy")
    busy_day(busy)
    busy.close(drop=False)
    return postgres


Make = Callable[[str], Gym]


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes a platform on one engine, from the template of that name."""
    if request.param == "postgres":
        server: Server = request.getfixturevalue("postgres_templates")
        return lambda name: PostgresGym(server, f"gym_{next(_NUMBERS)}", name)
    directory: Path = request.getfixturevalue("templates")
    return lambda name: SqliteGym(Path(shutil.copy(directory / f"{name}.db", tmp_path / "gym.db")))


@pytest.fixture
def gym(make: Make) -> Iterator[Gym]:
    """A platform where nothing has happened yet."""
    gym = make("empty")
    yield gym
    gym.close()


@pytest.fixture
def busy(make: Make) -> Iterator[Gym]:
    """A platform after `busy_day`."""
    gym = make("busy")
    yield gym
    gym.close()


@pytest.fixture(scope="module", params=ENGINES)
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A platform behind HTTP, shared by the tests of a module."""
    directory = tmp_path_factory.mktemp("front")
    if request.param == "postgres":
        gym = PostgresGym(request.getfixturevalue("postgres_templates"), f"front_{next(_NUMBERS)}", "empty")
        with Front(directory, gym.url) as front:
            yield front
        gym.close()
        return
    with Front(directory, f"sqlite:///{directory / 'gym.db'}") as front:
        yield front
