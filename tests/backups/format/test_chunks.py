"""Chunks: what comes out is what went in, in its own place, or it is damaged."""

from __future__ import annotations

import os

import pytest

from backups.errors import Damaged
from backups.format import chunks
from backups.keys.sealing import PLAIN, DataKeySealer
from backups.keys.secret import Secret

PAGES = os.urandom(4096) * 3


def test_a_chunk_comes_out_as_it_went_in() -> None:
    stored = chunks.close(PAGES, PLAIN, "b/0")
    assert len(stored) < len(PAGES)
    assert chunks.open_(stored, len(PAGES), PLAIN, "b/0") == PAGES


@pytest.mark.parametrize("size_bytes", [len(PAGES) - 1, len(PAGES) + 1, 0])
def test_a_chunk_of_another_size_is_damaged(size_bytes: int) -> None:
    stored = chunks.close(PAGES, PLAIN, "b/0")
    with pytest.raises(Damaged, match="does not hold"):
        chunks.open_(stored, size_bytes, PLAIN, "b/0")


@pytest.mark.parametrize("stored", [b"", b"junk that is no frame", chunks.close(PAGES, PLAIN, "b/0")[:-1]])
def test_what_is_cut_or_no_chunk_is_damaged(stored: bytes) -> None:
    with pytest.raises(Damaged, match=r"does not (decompress|hold)"):
        chunks.open_(stored, len(PAGES), PLAIN, "b/0")


def test_junk_behind_a_chunk_is_damage() -> None:
    with pytest.raises(Damaged, match="does not hold"):
        chunks.open_(chunks.close(PAGES, PLAIN, "b/0") + b"x", len(PAGES), PLAIN, "b/0")


def test_a_sealed_chunk_opens_in_its_own_place_only() -> None:
    sealer = DataKeySealer("k", Secret(bytes(32)))
    stored = chunks.close(PAGES, sealer, "b/0")
    assert chunks.open_(stored, len(PAGES), sealer, "b/0") == PAGES
    with pytest.raises(Damaged):
        chunks.open_(stored, len(PAGES), sealer, "b/1")
