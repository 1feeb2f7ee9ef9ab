"""The contract of Store, over every store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.errors import Locked, NameTaken, ObjectMissing, StoreError
from backups.stores import store as stores
from backups.stores.directory import DirectoryStore
from backups.stores.mirrored import MirroredStore
from backups.stores.sftp import SftpStore
from backups.stores.store import Store, StoredObject
from tests.backups.cloud import Cloud
from tests.backups.memory_store import MemoryStore
from tests.backups.sftp_server import KINDS

ELSEWHERE = [pytest.param(kind, marks=pytest.mark.processes) for kind in ("s3", *KINDS)]


@pytest.fixture(params=["directory", "memory", "mirrored", *ELSEWHERE])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param in KINDS:
        return SftpStore(request.getfixturevalue("sftp_servers")[request.param].address())
    if request.param == "s3":
        cloud: Cloud = request.getfixturevalue("s3")
        return cloud.store()
    if request.param == "memory":
        return MemoryStore()
    directory = DirectoryStore(tmp_path / "store", make=True)
    return MirroredStore([directory, MemoryStore()]) if request.param == "mirrored" else directory


def test_create_gives_back_what_was_put(store: Store) -> None:
    assert store.create("objects/a/data", (b"one", b"", b"two")) == 6
    assert stores.read(store, "objects/a/data") == b"onetwo"


def test_an_empty_object_is_an_object(store: Store) -> None:
    assert store.create("empty", ()) == 0
    assert stores.read(store, "empty") == b""
    assert store.size("empty") == 0


def test_create_refuses_a_name_that_exists_and_keeps_the_old_content(store: Store) -> None:
    store.create("name", (b"old",))
    with pytest.raises(NameTaken):
        store.create("name", (b"new",))
    assert stores.read(store, "name") == b"old"


def test_an_object_whose_writing_failed_does_not_exist(store: Store) -> None:
    def torn() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("the source went away")

    with pytest.raises(RuntimeError, match="the source went away"):
        store.create("objects/torn", torn())
    assert store.list() == ()
    assert store.size("objects/torn") is None
    store.create("objects/torn", (b"whole",))
    assert stores.read(store, "objects/torn") == b"whole"


def test_an_object_is_invisible_while_it_is_written(store: Store) -> None:
    def watched() -> Iterator[bytes]:
        yield b"half"
        assert store.list() == ()
        assert store.size("name") is None

    store.create("name", watched())


def test_a_range_is_fetched_whole_or_not_at_all(store: Store) -> None:
    store.create("objects/a/data", (b"0123456789",))
    assert store.fetch("objects/a/data", 2, 3) == b"234"
    assert store.fetch("objects/a/data", 0, 10) == b"0123456789"
    assert store.fetch("objects/a/data", 4, 0) == b""
    with pytest.raises(StoreError):
        store.fetch("objects/a/data", 8, 5)
    with pytest.raises(ObjectMissing):
        store.fetch("objects/none", 0, 1)


def test_a_large_object_comes_back_whole(store: Store) -> None:
    """Larger than what any store holds in memory or sends in one piece."""
    pieces = [bytes([number]) * (1 << 20) for number in range(35)]
    assert store.create("large", iter(pieces)) == 35 << 20
    with store.open("large") as source:
        assert all(source.read(1 << 20) == piece for piece in pieces)
        assert source.read() == b""
    assert store.fetch("large", (20 << 20) - 1, 2) == bytes([19, 20])


def test_readers_share_and_keep_deletion_out(store: Store) -> None:
    store.create("name", (b"x",))
    with store.shared("restore"), store.shared("another restore"):
        with store.exclusive("backup"):
            pass
        with pytest.raises(Locked), store.exclusive("prune", alone=True):
            pass
    with store.exclusive("prune", alone=True):
        pass


def test_a_store_is_its_own_only_copy_or_says_which_it_has(store: Store) -> None:
    assert store.copies == (store,) or len(store.copies) == 2
    assert store.trouble == ()


def test_list_is_sorted_and_by_prefix(store: Store) -> None:
    for name in ("b/2", "a/1", "b/10", "c"):
        store.create(name, (name.encode(),))
    assert [stored.name for stored in store.list()] == ["a/1", "b/10", "b/2", "c"]
    assert store.list("b/1") == (StoredObject("b/10", 4),)
    assert store.list("nothing/") == ()


def test_a_missing_object_is_said_to_be_missing(store: Store) -> None:
    with pytest.raises(ObjectMissing, match="objects/none"):
        store.open("objects/none")
    assert store.size("objects/none") is None


def test_a_folder_of_objects_is_not_an_object(store: Store) -> None:
    store.create("objects/a/data", (b"x",))
    assert store.size("objects/a") is None


def test_delete_removes_and_may_be_repeated(store: Store) -> None:
    store.create("objects/name", (b"x",))
    store.delete("objects/name")
    store.delete("objects/name")
    assert store.list() == ()


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../outside", "a/../b", ".hidden", "a/.hidden", "a//b", "a/"])
def test_a_name_that_could_leave_the_store_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not an object name"):
        store.create(name, (b"x",))


def test_exclusive_refuses_a_second_writer_and_lets_readers_be(store: Store) -> None:
    store.create("name", (b"x",))
    with store.exclusive("first"):
        with pytest.raises(Locked, match="first"), store.exclusive("second"):
            pass
        assert stores.read(store, "name") == b"x"
        store.create("other", (b"y",))
    with store.exclusive("third"):
        pass


def test_exclusive_is_released_when_the_block_fails(store: Store) -> None:
    with pytest.raises(RuntimeError), store.exclusive("first"):
        raise RuntimeError
    with store.exclusive("second"):
        pass


def test_scratch_is_empty_local_and_gone_afterwards(store: Store) -> None:
    with store.scratch("work") as place:
        assert list(place.iterdir()) == []
        (place / "file").write_bytes(b"x")
        assert store.list() == ()
    assert not place.exists()


def test_scratch_survives_another_writers_sweep_while_it_is_used(store: Store) -> None:
    with store.scratch("look") as place:
        (place / "file").write_bytes(b"x")
        with store.exclusive("backup"):
            assert (place / "file").read_bytes() == b"x"
