"""A database with a seeded population, made once by the newest schema, and copies of it for every test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from migrations import revisions
from system import seed
from system.database import engine_for

Fresh = Callable[[str], str]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty players, their tournaments and matches, at the newest revision."""
    path = tmp_path_factory.mktemp("model") / "gym.db"
    url = f"sqlite:///{path}"
    revisions.upgrade(url)
    engine = engine_for(url, writer=True, pooled=False)
    seed.seed(engine, users_count=30, tournaments_count=4, matches_count=40, run="r", seed=7, now_ms=1_700_000_000_000)
    engine.dispose()
    return path


@pytest.fixture
def filled(model: Path, tmp_path: Path) -> str:
    """URL of a copy, at the newest revision."""
    return f"sqlite:///{shutil.copy(model, tmp_path / 'gym.db')}"


@pytest.fixture
def older(filled: str) -> str:
    """URL of a copy that was taken back to the first revision, its data in it."""
    revisions.downgrade(filled, "0001")
    return filled


@pytest.fixture
def empty(tmp_path: Path) -> str:
    """URL of a database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'new.db'}"
