"""The promise of the synchronous mode: with the machine gone, the store has every write that was ever acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import soak
from tests.backups import lost_disk

pytestmark = pytest.mark.processes

ROUNDS = soak.rounds(50, 500)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lost_disk.template(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_no_acknowledged_write_is_lost_with_the_disk(model: Path, tmp_path: Path, seed: int) -> None:
    loss = lost_disk.lose(model, tmp_path, seed)
    assert loss.acknowledged > 0
    assert loss.lost == ()


def test_acknowledging_before_shipping_is_caught(model: Path, tmp_path: Path) -> None:
    loss = lost_disk.lose(
        model,
        tmp_path,
        1,
        writer="tests.sabotage.acknowledge_unshipped",
        interval_ms=60_000,
        checkpoint_mb=1000,  # nor for the sake of a checkpoint
    )
    assert loss.acknowledged > 0
    assert loss.lost != ()


@pytest.mark.parametrize("seed", range(3))
def test_without_waiting_the_newest_writes_are_lost_and_no_others(
    model: Path, tmp_path: Path, seed: int, record_property: Callable[[str, object], None]
) -> None:
    loss = lost_disk.lose(model, tmp_path, seed, mode="async", interval_ms=100)
    print(f"of {loss.acknowledged} acknowledged writes {len(loss.lost)} are lost, those of {loss.lost_s * 1000:.0f} ms")
    record_property("lost", len(loss.lost))
    record_property("lost_ms", round(loss.lost_s * 1000))
    assert loss.kept > 0
    assert loss.lost_s < 5
    assert loss.lost == tuple(range(loss.lost[0], loss.lost[0] + len(loss.lost))) if loss.lost else True
