"""Sealed pieces: they open at their place, with their key, whole; and nothing else does."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from backups.errors import BackupError, Damaged
from backups.keys.sealing import OVERHEAD_BYTES, PLAIN, DataKeySealer
from backups.keys.secret import Secret

KEY = bytes(range(32))
PLACE = "20261123T090000Z-000007-full-sqlite-1f3a/pack-0000/12"
PLAIN_TEXT = b"a chunk of pages"


def sealer(key: bytes = KEY) -> DataKeySealer:
    return DataKeySealer("a1b2", Secret(key))


@given(place=st.text(max_size=60), plain=st.binary(max_size=5000))
def test_what_is_sealed_opens_at_its_place(place: str, plain: bytes) -> None:
    sealed = sealer().seal(place, plain)
    assert sealer().open(place, sealed) == plain
    assert len(sealed) == len(plain) + OVERHEAD_BYTES


def test_the_format_is_the_one_that_is_written_down() -> None:
    sealed = sealer().seal(PLACE, PLAIN_TEXT)
    assert AESGCM(KEY).decrypt(sealed[:12], sealed[12:], PLACE.encode()) == PLAIN_TEXT


@given(plains=st.lists(st.binary(max_size=8), min_size=2, max_size=200))
def test_no_nonce_is_used_twice_even_for_one_place_and_one_text(plains: list[bytes]) -> None:
    one = sealer()
    sealed = [one.seal(PLACE, plain) for plain in [*plains, *plains]] + [sealer().seal(PLACE, plains[0])]
    assert len({piece[:12] for piece in sealed}) == len(sealed)


def test_no_nonce_is_used_twice_by_many_threads() -> None:
    one = sealer()
    with ThreadPoolExecutor(8) as threads:
        sealed = list(threads.map(lambda number: one.seal(f"b/pack/{number % 7}", b""), range(20_000)))
    assert len({piece[:12] for piece in sealed}) == len(sealed)


@given(st.tuples(st.text(max_size=20), st.text(max_size=20)).filter(lambda places: places[0] != places[1]))
def test_a_piece_moved_to_another_place_does_not_open(places: tuple[str, str]) -> None:
    here, there = places
    with pytest.raises(Damaged):
        sealer().open(there, sealer().seal(here, PLAIN_TEXT))


def test_every_flipped_bit_is_noticed() -> None:
    sealed = sealer().seal(PLACE, PLAIN_TEXT)
    for place in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[place] ^= 1 << bit
            with pytest.raises(Damaged, match="pack-0000/12 is not what was sealed there with the key a1b2"):
                sealer().open(PLACE, bytes(changed))


def test_every_truncation_and_every_addition_is_noticed() -> None:
    sealed = sealer().seal(PLACE, PLAIN_TEXT)
    for changed in [*(sealed[:length] for length in range(len(sealed))), sealed + b"\0", sealed + sealed]:
        with pytest.raises(Damaged, match="pack-0000/12 is "):
            sealer().open(PLACE, changed)


def test_an_empty_piece_can_be_neither_made_up_nor_emptied() -> None:
    for changed in (b"", bytes(OVERHEAD_BYTES), sealer().seal(PLACE, PLAIN_TEXT)[:OVERHEAD_BYTES]):
        with pytest.raises(Damaged):
            sealer().open(PLACE, changed)


def test_another_data_key_does_not_open_it() -> None:
    with pytest.raises(Damaged, match="with the key a1b2"):
        sealer(bytes(32)).open(PLACE, sealer().seal(PLACE, PLAIN_TEXT))


def test_a_data_key_seals_only_so_much() -> None:
    tired = DataKeySealer("a1b2", Secret(KEY), most_pieces=2)
    tired.seal(PLACE, b"")
    tired.seal(PLACE, b"")
    with pytest.raises(BackupError, match="has sealed 2 pieces, all it may; begin a new full backup"):
        tired.seal(PLACE, b"")


def test_plain_seals_nothing_and_says_so() -> None:
    assert PLAIN.open(PLACE, PLAIN.seal(PLACE, PLAIN_TEXT)) == PLAIN_TEXT == PLAIN.seal(PLACE, PLAIN_TEXT)
    assert PLAIN.key_id == ""
    assert sealer().key_id == "a1b2"


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(b"planted")
    assert "planted" not in f"{secret} {secret!r} {[secret]} {sealer(b'planted!' * 4)!r}"
    assert secret.reveal() == b"planted"
    assert secret == Secret(b"planted")
    assert secret != Secret(b"other")
    assert secret != b"planted"


@pytest.mark.parametrize("holder", [Secret(KEY), sealer()])
def test_what_holds_a_key_is_not_pickled(holder: object) -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(holder)
