"""A fresh stand for each test, with and without its service, gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.stand import Stand


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    stand = Stand(tmp_path / "stand")
    stand.build()
    yield stand
    stand.close()


@pytest.fixture
def serving(stand: Stand) -> Stand:
    stand.serve()
    stand.start_companion("scheduler")
    return stand
