"""A server's log in a store: what is put there comes back byte for byte, and what was changed there does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backups.addresses import store_at
from backups.errors import Damaged, KeyMissing
from backups.keys.keyring import Keyring, generate
from backups.postgres.archive import PREFIX, Archive
from backups.stores import store as stores
from tests.backups.databases import flip

SYSTEM = "7400000000000000001"
SEGMENT_BYTES = 1 << 20
FIRST, SECOND, THIRD = (f"00000001000000000000000{n}" for n in "123")
AT = "2026-11-23T09:00:00Z"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(store_at(str(tmp_path / "store"), make=True), SYSTEM, Keyring.plain())


def segment() -> bytes:
    return os.urandom(SEGMENT_BYTES)


def fetched(archive: Archive, into: Path, first: str = FIRST) -> dict[str, bytes]:
    into.mkdir()
    return {name: (into / name).read_bytes() for name in archive.fetch(into, first, SEGMENT_BYTES)}


def test_segments_and_histories_come_back_from_the_one_asked_for(archive: Archive, tmp_path: Path) -> None:
    contents = {
        FIRST: segment(),
        SECOND: segment(),
        "00000002.history": b"1\t0/3000000\tno recovery target specified\n",
    }
    for name, content in contents.items():
        archive.put(name, content, AT)
    assert fetched(archive, tmp_path / "all") == contents
    assert FIRST not in fetched(archive, tmp_path / "later", SECOND)
    assert archive.held().newest == SECOND


def test_pieces_are_laid_over_one_another_and_the_rest_is_zeros(archive: Archive, tmp_path: Path) -> None:
    content = segment()
    archive.put_piece(THIRD, 1, 0, content[:10_000], AT)
    archive.put_piece(THIRD, 2, 8192, content[8192:300_000], AT)
    assert fetched(archive, tmp_path / "some")[THIRD] == content[:300_000] + bytes(SEGMENT_BYTES - 300_000)
    assert archive.next_piece(THIRD) == 3
    archive.put(THIRD, content, AT)
    assert archive.held().pieces == {}
    assert fetched(archive, tmp_path / "whole") == {THIRD: content}


def test_what_is_there_already_stays_as_it_is(archive: Archive) -> None:
    content = segment()
    archive.put(FIRST, content, AT)
    archive.put(FIRST, segment(), AT)
    assert archive.get(FIRST) == content


@pytest.mark.parametrize("at", [3, 20, 400, -10])
def test_a_flipped_bit_is_found_wherever_it_is(archive: Archive, at: int) -> None:
    archive.put(FIRST, segment(), AT)
    place = Path(archive.store.address) / PREFIX / SYSTEM / FIRST
    flip(place, at % place.stat().st_size)
    with pytest.raises(Damaged, match=f"{FIRST} is damaged"):
        archive.get(FIRST)


def test_a_segment_under_another_name_is_refused(archive: Archive) -> None:
    archive.put(FIRST, segment(), AT)
    folder = Path(archive.store.address) / PREFIX / SYSTEM
    (folder / FIRST).rename(folder / SECOND)
    with pytest.raises(Damaged, match=f"{SECOND} is {FIRST} of the server"):
        archive.get(SECOND)


def test_a_sealed_log_opens_for_the_identity_alone_and_is_not_mistaken_for_a_plain_one(tmp_path: Path) -> None:
    identity, recipient = generate()
    key = tmp_path / "identity"
    key.touch(mode=0o600)
    key.write_text(f"{identity}\n", "ascii")
    store = store_at(str(tmp_path / "store"), make=True)
    content = b"acknowledged " * 1000
    Archive(store, SYSTEM, Keyring((recipient,), host_secret=tmp_path / "host.secret")).put(FIRST, content, AT)
    assert all(b"acknowledged" not in stores.read(store, one.name) for one in store.list(PREFIX))
    with pytest.raises(KeyMissing):
        Archive(store, SYSTEM, Keyring.plain()).get(FIRST)
    opened = Archive(store, SYSTEM, Keyring(identities=(key,)))
    assert opened.get(FIRST) == content
    Archive(store, SYSTEM, Keyring.plain()).put(SECOND, content, AT)
    with pytest.raises(Damaged, match="not sealed"):
        opened.get(SECOND)


def test_a_key_that_somebody_else_wrote_is_refused(tmp_path: Path) -> None:
    identity, recipient = generate()
    key = tmp_path / "identity"
    key.touch(mode=0o600)
    key.write_text(f"{identity}\n", "ascii")
    store = store_at(str(tmp_path / "store"), make=True)
    Archive(store, SYSTEM, Keyring((recipient,), host_secret=tmp_path / "host.secret")).put(FIRST, segment(), AT)
    (place,) = (Path(store.address) / PREFIX / SYSTEM).glob("key-*.json")
    place.write_bytes(place.read_bytes().replace(SYSTEM.encode(), b"7400000000000000002"))
    with pytest.raises(Damaged, match="was not written by who holds it"):
        Archive(store, SYSTEM, Keyring(identities=(key,))).get(FIRST)
