"""Segments as bytes: what is written is read again, and nothing else is."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import msgspec
import pytest

from backups.errors import BackupError, Damaged
from backups.keys.keyring import Keyring, generate
from backups.keys.sealing import PLAIN
from backups.log import segments
from backups.log.segments import Begin, Header, Key
from backups.log.stretch import frames_in

GENERATION = "000003-20261123T090000Z-1f3a9c2e"
KEY = Keyring.plain().hash_key
PAGE = 512


def frames(count: int) -> bytes:
    """That many frames of which every other ends a commit."""
    return b"".join(
        struct.pack(">6I", page, page % 2 * 9, 7, 70, page, page) + bytes([page]) * PAGE for page in range(1, count + 1)
    )


def header(**changes: object) -> Header:
    plain = Header(
        generation=GENERATION,
        index=12,
        page_size=PAGE,
        salts=(7, 70),
        first=5,
        last=8,
        before=(4, 4),
        after=(8, 8),
        commits=((5, 9), (7, 9)),
        read_at="2026-11-23T09:00:00.000Z",
        position=31,
        previous="ab" * 32,
        key_id="",
    )
    return msgspec.structs.replace(plain, **changes)


def test_a_stretch_of_log_is_cut_into_its_frames() -> None:
    found = [
        (frame.page, frame.units, frame.salts, frame.checksum, page[0]) for frame, page in frames_in(frames(2), PAGE)
    ]
    assert found == [(1, 9, (7, 70), (1, 1), 1), (2, 0, (7, 70), (2, 2), 2)]
    assert list(frames_in(frames(2)[:-1], PAGE))[1:] == []


def test_a_segment_is_read_as_it_was_written() -> None:
    content = segments.encode(header(), frames(4), PLAIN, KEY)
    stored = segments.decode(GENERATION, 12, content, KEY)
    assert stored.header == header()
    assert segments.frames_of(stored, PLAIN) == frames(4)
    assert stored.hash == content[-32:].hex()


def test_every_flipped_byte_and_every_cut_is_found() -> None:
    content = segments.encode(header(), frames(4), PLAIN, KEY)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x41
        with pytest.raises(Damaged):
            segments.decode(GENERATION, 12, bytes(damaged), KEY)
    for length in range(len(content)):
        with pytest.raises(Damaged):
            segments.decode(GENERATION, 12, content[:length], KEY)
    with pytest.raises(Damaged):
        segments.decode(GENERATION, 12, content + b"x", KEY)


@pytest.mark.parametrize(("generation", "index"), [(GENERATION, 13), (GENERATION.replace("000003", "000004"), 12)])
def test_a_segment_in_another_place_is_refused(generation: str, index: int) -> None:
    content = segments.encode(header(), frames(4), PLAIN, KEY)
    with pytest.raises(Damaged, match="holds segment 12 of 000003"):
        segments.decode(generation, index, content, KEY)


def test_a_segment_written_with_another_key_is_refused() -> None:
    with pytest.raises(Damaged, match="its hash differs"):
        segments.decode(GENERATION, 12, segments.encode(header(), frames(4), PLAIN, KEY), os.urandom(32))


@pytest.mark.parametrize(
    "changes",
    [
        {"first": 0},
        {"last": 4},
        {"commits": ((7, 9), (5, 9))},
        {"commits": ((5, 9), (5, 9))},
        {"commits": ((9, 9),)},
        {"commits": ((5, 0),)},
        {"format": 2},
    ],
)
def test_a_header_that_cannot_be_true_is_refused(changes: dict[str, object]) -> None:
    content = segments.encode(header(**changes), frames(4), PLAIN, KEY)
    with pytest.raises(Damaged, match="contradicts itself"):
        segments.decode(GENERATION, 12, content, KEY)


def test_a_header_that_promises_more_than_the_body_holds_is_refused() -> None:
    stored = segments.decode(GENERATION, 12, segments.encode(header(), frames(3), PLAIN, KEY), KEY)
    with pytest.raises(Damaged, match="were shipped"):
        segments.frames_of(stored, PLAIN)


def test_a_body_that_is_not_zstd_is_refused() -> None:
    stored = segments.decode(GENERATION, 12, segments.encode(header(), frames(4), PLAIN, KEY), KEY)
    broken = segments.Stored(stored.header, b"nonsense", stored.place, stored.hash)
    with pytest.raises(Damaged, match="cannot be decompressed"):
        segments.frames_of(broken, PLAIN)


def test_a_sealed_body_belongs_to_its_header(tmp_path: Path) -> None:
    text, recipient = generate()
    (tmp_path / "identity").write_text(text)
    (tmp_path / "identity").chmod(0o600)
    keyring = Keyring(recipients=(recipient,), host_secret=tmp_path / "secret")
    sealer, envelope = keyring.new(GENERATION)
    key = keyring.hash_key
    content = segments.encode(header(key_id=sealer.key_id), frames(4), sealer, key)
    assert bytes([3]) * PAGE not in content
    stored = segments.decode(GENERATION, 12, content, key)
    reader = Keyring(identities=(tmp_path / "identity",))
    assert segments.frames_of(stored, reader.open(envelope)) == frames(4)
    forged = segments.encode(header(position=99), b"", PLAIN, key)
    other = segments.decode(GENERATION, 12, forged, key)
    with pytest.raises(Damaged, match="is not what was sealed there"):
        segments.frames_of(segments.Stored(other.header, stored.body, other.place, other.hash), reader.open(envelope))


FOLLOWING: list[tuple[dict[str, object], str]] = [
    ({"index": 13, "first": 9, "last": 12, "before": (8, 8)}, ""),
    ({"index": 13, "first": 1, "last": 4, "before": (0, 0), "salts": (8, 1)}, ""),
    ({"index": 13, "first": 10, "last": 13, "before": (8, 8)}, "where the segment before it ended"),
    ({"index": 13, "first": 9, "last": 12, "before": (9, 9)}, "where the segment before it ended"),
    ({"index": 13, "first": 2, "last": 5, "before": (0, 0), "salts": (8, 1)}, "where the segment before it ended"),
    ({"index": 13, "first": 1, "last": 4, "before": (0, 0)}, "where the segment before it ended"),
    ({"index": 13, "first": 9, "last": 12, "before": (8, 8), "page_size": 1024}, "where the segment before it ended"),
]


@pytest.mark.parametrize(("changes", "why"), FOLLOWING)
def test_what_goes_on_where_the_segment_before_ended(changes: dict[str, object], why: str) -> None:
    first = segments.decode(GENERATION, 12, segments.encode(header(), frames(4), PLAIN, KEY), KEY)
    second = segments.Stored(header(previous=first.hash, commits=(), **changes), b"", "", "")
    assert why in segments.follows(first, second)
    assert bool(why) == bool(segments.follows(first, second))


def test_a_segment_written_after_another_past_does_not_follow() -> None:
    first = segments.decode(GENERATION, 12, segments.encode(header(), frames(4), PLAIN, KEY), KEY)
    second = segments.Stored(header(index=13, first=9, last=12, before=(8, 8), commits=()), b"", "", "")
    assert "written after another one" in segments.follows(first, second)


def begin(**changes: object) -> Begin:
    plain = Begin(
        generation=GENERATION,
        began="2026-11-23T09:00:00.000Z",
        why="There was no shipped log in the store.",
        previous=None,
        shipped=None,
        database="/srv/gym.db",
        device=1,
        inode=2,
        host="here",
        page_size=PAGE,
        salts=(7, 70),
        frame=4,
        checksum=(4, 4),
        envelope=None,
    )
    return msgspec.structs.replace(plain, **changes)


def test_a_begin_is_read_as_it_was_written_and_not_otherwise() -> None:
    content = segments.encode_begin(begin(), KEY)
    assert msgspec.structs.replace(segments.decode_begin(GENERATION, content, KEY), check="") == begin()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x01
        with pytest.raises(Damaged):
            segments.decode_begin(GENERATION, bytes(damaged), KEY)
    with pytest.raises(Damaged, match="is that of"):
        segments.decode_begin("000009-20261123T090000Z-1f3a9c2e", content)
    with pytest.raises(Damaged, match="format 2"):
        segments.decode_begin(GENERATION, segments.encode_begin(begin(format=2), KEY))


def test_a_key_is_that_of_its_name(tmp_path: Path) -> None:
    keyring = Keyring(recipients=(generate()[1],), host_secret=tmp_path / "secret")
    _, envelope = keyring.new(GENERATION)
    assert envelope is not None
    content = segments.encode_key(Key(generation=GENERATION, envelope=envelope), KEY)
    assert segments.decode_key(GENERATION, envelope.key_id, content, KEY).envelope == envelope
    with pytest.raises(Damaged, match="holds another key"):
        segments.decode_key(GENERATION, "another", content, KEY)
    with pytest.raises(BackupError):
        segments.decode_key(GENERATION, envelope.key_id, content[:-9], KEY)


def test_names_lead_to_places_and_back() -> None:
    assert segments.generation_id(3, "20261123T090000Z", "1f3a9c2e") == GENERATION
    assert segments.sequence_of(GENERATION) == 3
    assert segments.index_in(segments.name_of(GENERATION, 12)) == (GENERATION, 12)
    for name in (segments.begin_name(GENERATION), "log/x/0000000001", "manifests/x", f"log/{GENERATION}/a/0000000001"):
        assert segments.index_in(name) is None
