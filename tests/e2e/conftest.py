"""Stands to test the running service on: one that was built and never served, and copies of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.stand import Stand, standing


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """A stand with six users, a tournament and a match, to be copied: building one takes longer than most tests."""
    stand = Stand(tmp_path_factory.mktemp("stands") / "built")
    stand.build(users=6, tournaments=1, matches=1, seed=1)
    return stand


@pytest.fixture
def fresh(built: Stand, tmp_path: Path) -> Iterator[Stand]:
    """A stand of the test's own, not yet serving; to be broken at will."""
    with standing(Stand(shutil.copytree(built.directory, tmp_path / "own"))) as stand:
        yield stand


@pytest.fixture(scope="module")
def gym(built: Stand, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A serving stand that a module's tests share and leave whole."""
    directory = shutil.copytree(built.directory, tmp_path_factory.mktemp("shared") / "gym")
    with standing(Stand(directory)) as stand:
        stand.start()
        stand.wait_ready()
        yield stand
