"""The promise of the synchronous mode: with the machine gone, the store has every write that was ever acknowledged."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import soak
from tests.backups import lost_disk

pytestmark = pytest.mark.processes

ROUNDS = soak.rounds(50, 500)
ASYNCHRONOUS = 8


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


@pytest.mark.timeout(1200)
def test_without_waiting_the_newest_writes_are_lost_no_others_and_few(
    model: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The promise: two seconds of writes at most, at the 95th percentile."""
    losses = [
        lost_disk.lose(model, tmp_path / str(seed), seed, mode="async")
        for seed in range(soak.rounds(ASYNCHRONOUS, 200))
    ]
    for loss in losses:
        assert loss.kept > 0
        assert loss.lost == tuple(range(loss.lost[0], loss.lost[0] + len(loss.lost))) if loss.lost else True
    seconds = sorted(loss.lost_s for loss in losses)
    p95_s = seconds[math.ceil(0.95 * len(seconds)) - 1]
    record_property("lost_p95_s", round(p95_s, 3))
    print(f"lost at p95: the writes of {p95_s:.2f} s; at most: {seconds[-1]:.2f} s")
    assert any(loss.lost for loss in losses), "nothing was ever lost, so nothing was measured"
    assert p95_s <= 2.0
