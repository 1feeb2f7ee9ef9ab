"""A database, a store with two backups of it, and copies of both for the tests that damage them."""

from __future__ import annotations

from pathlib import Path

import pytest

from backups.backup import run_backup
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from tests.backups import databases
from tests.backups.house import Chain, House


@pytest.fixture
def engine() -> SqliteEngine:
    return SqliteEngine(position_of="operations.sequence")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return databases.make(tmp_path / "gym.db")


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store", make=True)


@pytest.fixture(scope="session")
def model_house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The house that every test gets a copy of."""
    root = tmp_path_factory.mktemp("house")
    engine = SqliteEngine(position_of="operations.sequence")
    path = databases.make(root / "gym.db")
    store = DirectoryStore(root / "store", make=True)
    older = run_backup(engine, str(path), store, kind="full", demonstration=True)
    then = databases.contents(path)
    databases.write(path, 30)
    newer = run_backup(engine, str(path), store, kind="full", demonstration=True)
    return House(path, store, older, newer, then, databases.contents(path))


@pytest.fixture(scope="session")
def model_crash(model_house: House, tmp_path_factory: pytest.TempPathFactory) -> House:
    """The house after its service was killed with twenty more operations in the log, for `crashed_house` to copy."""
    house = model_house.copy_to(tmp_path_factory.mktemp("crash") / "house")
    databases.crash(house.database, rows=20)
    return house


@pytest.fixture(scope="session")
def model_chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """The chain that every test gets a copy of."""
    root = tmp_path_factory.mktemp("chain")
    engine = SqliteEngine(position_of="operations.sequence")
    path = databases.make(root / "gym.db", rows=2000)
    store = DirectoryStore(root / "store", make=True)
    links, states = [], []
    for _ in range(3):
        links.append(run_backup(engine, str(path), store, demonstration=True))
        states.append(databases.contents(path))
        databases.write(path, 20)
    return Chain(path, store, tuple(links), tuple(states))


@pytest.fixture
def chain(model_chain: Chain, tmp_path: Path) -> Chain:
    return model_chain.copy_to(tmp_path / "chain")


@pytest.fixture
def house(model_house: House, tmp_path: Path) -> House:
    return model_house.copy_to(tmp_path / "house")


@pytest.fixture
def crashed_house(model_crash: House, tmp_path: Path) -> House:
    return model_crash.copy_to(tmp_path / "house")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the database where the commands expect it."""
    (tmp_path / "var").mkdir()
    databases.make(tmp_path / "var" / "gym.db")
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "GYM_STORE", "GYM_STORE_DEMO", "GYM_RECIPIENTS", "GYM_IDENTITY", "GYM_HOST_SECRET"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path
