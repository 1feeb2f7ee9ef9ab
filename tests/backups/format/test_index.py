"""Indexes: what is written is read back, and nothing else is believed."""

from __future__ import annotations

from array import array

import pytest

from backups.errors import Damaged
from backups.format import chunks, index
from backups.format.index import Chunk, Index
from backups.format.units import HASH_BYTES
from backups.keys.sealing import PLAIN


def made(units: range | array[int], sizes: tuple[int, ...] = (10,)) -> Index:
    places = tuple(Chunk(pack, 0, size) for pack, size in enumerate(sizes))
    return Index(units, bytes(HASH_BYTES * len(units)), places)


def read_back(one: Index, image_units: int = 100, packs: tuple[int, ...] = (10,)) -> Index:
    return index.decode(index.encode(one, "b", PLAIN), "b", image_units, packs, PLAIN)


@pytest.mark.parametrize("units", [range(64), array("I", [0, 7, 99]), array("I", [3])])
def test_an_index_is_read_back(units: range | array[int]) -> None:
    assert read_back(made(units)) == made(units)


def test_an_index_of_nothing_is_read_back() -> None:
    nothing = Index(range(0), b"", ())
    assert read_back(nothing, packs=()) == nothing


def test_chunks_know_their_units() -> None:
    one = made(range(100), (10, 10))
    assert one.units_in(0) == range(chunks.UNITS)
    assert one.units_in(1) == range(chunks.UNITS, 100)


@pytest.mark.parametrize(
    ("one", "image_units", "packs", "why"),
    [
        (made(array("I", [7, 3])), 100, (10,), "units that the backup cannot have"),
        (made(array("I", [3, 100])), 100, (10,), "units that the backup cannot have"),
        (made(range(65)), 100, (10,), "1 chunks, which do not hold 65 units"),
        (made(range(64)), 100, (11,), "does not account for every byte"),
        (made(range(64)), 100, (10, 5), "does not account for every byte"),
        (made(range(64)), 100, (), "places a chunk where none was stored"),
        (Index(range(64), bytes(64 * HASH_BYTES), (Chunk(0, 1, 10),)), 100, (10,), "where none was stored"),
    ],
)
def test_an_index_that_does_not_fit_its_manifest_is_refused(
    one: Index, image_units: int, packs: tuple[int, ...], why: str
) -> None:
    with pytest.raises(Damaged, match=why):
        read_back(one, image_units, packs)


def test_an_index_of_another_backup_is_refused() -> None:
    with pytest.raises(Damaged, match="is that of b"):
        index.decode(index.encode(made(range(5)), "b", PLAIN), "c", 100, (10,), PLAIN)


@pytest.mark.parametrize("content", [b"", b"junk", bytes(100)])
def test_junk_is_no_index(content: bytes) -> None:
    with pytest.raises(Damaged, match="cannot be read"):
        index.decode(content, "b", 100, (10,), PLAIN)


def test_an_index_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(Damaged, match="cannot be read"):
        index.decode(index.encode(made(range(100_000)), "b", PLAIN), "b", 10, (10,), PLAIN)
