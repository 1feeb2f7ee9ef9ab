"""Packs: bounded in size, complete or gone, and read no further than asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import msgspec
import pytest

from backups.errors import Damaged, StoreError
from backups.format import packs, units
from backups.format.index import Index
from backups.format.manifest import Manifest
from backups.format.packs import Writer
from backups.keys.sealing import PLAIN
from tests.backups.memory_store import MemoryStore
from tests.backups.test_plan import NEW

PAGE = 512
KEY = bytes(32)
PAGES = [os.urandom(PAGE) for _ in range(64 * 5 + 3)]
HASHES = b"".join(units.hash_of(page, KEY) for page in PAGES)


def write(store: MemoryStore) -> tuple[Manifest, Index]:
    assert NEW.manifest is not None
    with Writer(store, NEW.id, PLAIN, PLAIN) as writer:
        for number, page in enumerate(PAGES):
            writer.add(number, page)
        made, index, table = writer.finish(HASHES, len(PAGES))
        writer.keep()
    manifest = msgspec.structs.replace(NEW.manifest, unit_bytes=PAGE, units=len(PAGES), packs=made, index=index)
    return manifest, table


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs of two chunks at most."""
    monkeypatch.setattr(packs, "MOST_BYTES", 70 * 1024)


@pytest.mark.usefixtures("small_packs")
def test_packs_stay_below_their_bound_and_hold_every_unit() -> None:
    store = MemoryStore()
    manifest, table = write(store)
    assert len(manifest.packs) == 3
    assert all(pack.stored_bytes <= packs.MOST_BYTES for pack in manifest.packs)
    read = dict(packs.read_chunks(store, manifest, table, PLAIN, range(len(table.chunks))))
    assert b"".join(read.values()) == b"".join(PAGES)
    assert packs.read_index(store, manifest, PLAIN) == table


@pytest.mark.usefixtures("small_packs")
def test_only_what_is_wanted_is_fetched() -> None:
    fetched = []

    class Watched(MemoryStore):
        def fetch(self, name: str, offset: int, size: int) -> bytes:
            fetched.append(size)
            return super().fetch(name, offset, size)

    store = Watched()
    manifest, table = write(store)
    assert [number for number, _ in packs.read_chunks(store, manifest, table, PLAIN, [0, 1, 4])] == [0, 1, 4]
    sizes = [table.chunks[number].size for number in (0, 1, 4)]
    assert fetched == [sizes[0] + sizes[1], sizes[2]]


@pytest.mark.usefixtures("small_packs")
@pytest.mark.parametrize("fails_at", ["pack-0000", "pack-0002", "index"])
def test_a_store_that_fails_on_the_way_is_left_empty(fails_at: str) -> None:
    class Failing(MemoryStore):
        def create(self, name: str, chunks: Iterable[bytes]) -> int:
            if name.endswith(fails_at):
                raise StoreError("The store went away.")
            return super().create(name, chunks)

    store = Failing()
    with pytest.raises(StoreError, match="went away"):
        write(store)
    assert store.objects == {}


def test_a_run_that_ends_without_publishing_leaves_the_store_empty() -> None:
    store = MemoryStore()
    assert NEW.manifest is not None
    with Writer(store, NEW.id, PLAIN, PLAIN) as writer:
        for number, page in enumerate(PAGES):
            writer.add(number, page)
        writer.finish(HASHES, len(PAGES))
        assert len(store.objects) == 2
    assert store.objects == {}


def _emptied(content: bytes) -> bytes:
    return content[:0]


def _cut(content: bytes) -> bytes:
    return content[:-1]


def _changed(content: bytes) -> bytes:
    return b"x" + content[1:]


@pytest.mark.parametrize("damage", [_emptied, _cut, _changed])
def test_a_pack_that_is_not_what_was_stored_is_named(damage: Callable[[bytes], bytes]) -> None:
    store = MemoryStore()
    manifest, table = write(store)
    name = manifest.packs[0].name
    store.objects[name] = damage(store.objects[name])
    with pytest.raises(Damaged, match=r"pack-0000 is (cut short|not what was stored)"):
        list(packs.read_chunks(store, manifest, table, PLAIN, range(len(table.chunks))))
