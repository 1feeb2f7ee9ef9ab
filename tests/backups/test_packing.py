"""Packing and unpacking: bit for bit, or not at all."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from backups import packing
from backups.directory_store import DirectoryStore
from backups.errors import BackupError, Damaged
from tests.backups.memory_store import MemoryStore

NAME = "objects/b/database.zst"
SIZES = [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_001]


def packed(content: bytes, tmp_path: Path) -> tuple[MemoryStore, packing.PackedFile]:
    store, source = MemoryStore(), tmp_path / "source"
    source.write_bytes(content)
    return store, packing.pack(store, source, NAME)


@pytest.mark.parametrize("size", SIZES)
def test_what_goes_in_comes_out(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size // 2) + bytes(size - size // 2)
    store, file = packed(content, tmp_path)
    packing.unpack(store, file, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content
    assert (file.size_bytes, file.stored_bytes) == (size, len(store.objects[NAME]))


def test_every_single_byte_counts(tmp_path: Path) -> None:
    """Each byte of the object, headers and checksum included, is flipped in turn; none goes unnoticed."""
    store, file = packed(b"a page of a database, " * 9, tmp_path)
    whole = store.objects[NAME]
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << random.Random(place).randrange(8)
        store.objects[NAME] = bytes(changed)
        with pytest.raises(Damaged, match=NAME):
            packing.unpack(store, file, tmp_path / f"out-{place}")


def test_every_truncation_and_every_addition_counts(tmp_path: Path) -> None:
    store, file = packed(random.Random(1).randbytes(300), tmp_path)
    whole = store.objects[NAME]
    for number, changed in enumerate([whole[:length] for length in range(len(whole))] + [whole + b"\0", whole + whole]):
        store.objects[NAME] = changed
        with pytest.raises(Damaged):
            packing.unpack(store, file, tmp_path / f"out-{number}")


def test_another_file_packed_just_as_well_is_still_another_file(tmp_path: Path) -> None:
    _, file = packed(b"one" * 1000, tmp_path)
    (tmp_path / "source").write_bytes(b"two" * 1000)
    other = MemoryStore()
    packing.pack(other, tmp_path / "source", NAME)
    with pytest.raises(Damaged):
        packing.unpack(other, file, tmp_path / "out")


def test_an_object_that_swells_beyond_its_manifest_is_stopped(tmp_path: Path) -> None:
    """Ten megabytes of zeros in three hundred bytes: nothing beyond the size in the manifest is written."""
    store, file = packed(bytes(10_000_000), tmp_path)
    modest = msgspec.structs.replace(file, size_bytes=1000)
    with pytest.raises(Damaged, match="holds more than the 1000 bytes"):
        packing.unpack(store, modest, tmp_path / "out")
    assert (tmp_path / "out").stat().st_size <= 1 << 20


def test_an_unknown_codec_is_named(tmp_path: Path) -> None:
    store, file = packed(b"x", tmp_path)
    with pytest.raises(Damaged, match="packed with lzma"):
        packing.unpack(store, msgspec.structs.replace(file, codec="lzma"), tmp_path / "out")


def test_a_missing_object_is_damage(tmp_path: Path) -> None:
    store, file = packed(b"x", tmp_path)
    store.delete(NAME)
    with pytest.raises(Damaged, match="is not in memory:"):
        packing.unpack(store, file, tmp_path / "out")


def test_a_read_error_of_the_store_is_damage(tmp_path: Path) -> None:
    """Reading the memory of a process at address 0 fails with EIO, like a sector that has gone bad."""
    _, file = packed(b"x", tmp_path)
    store = DirectoryStore(tmp_path / "store", make=True)
    store.create(NAME, (b"",))
    (tmp_path / "store" / NAME).unlink()
    (tmp_path / "store" / NAME).symlink_to("/proc/self/mem")
    with pytest.raises(Damaged, match="cannot be read from its store: Input/output error"):
        packing.unpack(store, file, tmp_path / "out")


def test_progress_rises_to_the_whole_and_can_stop_the_work(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    source = tmp_path / "source"
    source.write_bytes(bytes(2_500_000))
    store = MemoryStore()
    packing.pack(store, source, NAME, lambda *told: seen.append(told))
    assert seen == [(done, 2_500_000, "store") for done in (1 << 20, 2 << 20, 2_500_000)]

    def stop(done_bytes: int, total_bytes: int, phase: str, /) -> None:
        raise BackupError("stopped")

    with pytest.raises(BackupError, match="stopped"):
        packing.pack(store, source, "objects/other", stop)
    assert store.size("objects/other") is None
