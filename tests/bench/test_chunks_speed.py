"""How fast a backup's pages are hashed, and its chunks made and opened."""

from __future__ import annotations

import pytest

from backups.format import chunks, units
from backups.keys.sealing import PLAIN
from tests.bench.backups import events
from tests.bench.conftest import Report, Timed
from tests.bench.figures import at_least

pytestmark = pytest.mark.benchmark_only

SIZE_MB = 16
ROUNDS = 7
CHUNK_BYTES = chunks.UNITS * events.PAGE_BYTES


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The database of events, cut into chunks."""
    image: bytes = events.built(tmp_path_factory.mktemp("chunks"), SIZE_MB).read_bytes()
    return [image[at : at + CHUNK_BYTES] for at in range(0, len(image), CHUNK_BYTES)]


def rates(seconds: list[float], blocks: list[bytes]) -> list[float]:
    size_mb = sum(map(len, blocks)) / 1e6
    return [size_mb / one for one in seconds]


def test_hashing_units(timed: Timed, blocks: list[bytes], report: Report) -> None:
    seconds = timed(lambda: [units.hashes_of(block, events.PAGE_BYTES, b"k" * 32) for block in blocks], ROUNDS)
    report(at_least("units hashed", rates(seconds, blocks), "MB/s", 500))


def test_closing_chunks(timed: Timed, blocks: list[bytes], report: Report) -> None:
    seconds = timed(lambda: [chunks.close(block, PLAIN, "b/1") for block in blocks], ROUNDS)
    report(at_least("chunks closed", rates(seconds, blocks), "MB/s", 150))


def test_opening_chunks(timed: Timed, blocks: list[bytes], report: Report) -> None:
    stored = [chunks.close(block, PLAIN, "b/1") for block in blocks]
    assert [chunks.open_(one, len(block), PLAIN, "b/1") for one, block in zip(stored, blocks, strict=True)] == blocks
    seconds = timed(
        lambda: [chunks.open_(one, len(block), PLAIN, "b/1") for one, block in zip(stored, blocks, strict=True)], ROUNDS
    )
    report(at_least("chunks opened", rates(seconds, blocks), "MB/s", 300))
