"""The shipped log as it lies in a store: generations of segments, each speaking for the one before it.

    log/<generation>/begin.json         where a generation begins in the log, and why it was begun
    log/<generation>/key-<key id>.json  the envelope of one more data key: a shipper started again cannot know the old one
    log/<generation>/0000000001         segment 1:  magic | length | header (JSON) | body (zstd, sealed) | BLAKE3 of all that

A segment holds the frames of the log from `first` to `last` as they were, and names the commits that end in it. Its header
can be read by who has no identity; it is bound to the body by the place that the body is sealed for.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

import msgspec
from blake3 import blake3

from backups.clock import parse
from backups.errors import Damaged
from backups.keys.keyring import Envelope
from backups.keys.sealing import Sealer
from backups.log.continuity import Position
from backups.sqlite.wal import FRAME_HEADER_BYTES, Checksum, Salts

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PREFIX: Final = "log/"
FORMAT: Final = 1
MOST_BYTES: Final = 8 << 20
"""How much log one segment holds before it is zstd-compressed, at most: one larger commit goes into several."""

START: Final[Checksum] = (0, 0)
"""What stands for the checksum before the first frame of a round."""

_MAGIC: Final = b"gymlog1\n"
_LENGTH = struct.Struct(">I")
_HEADER_AT: Final = len(_MAGIC) + _LENGTH.size
_HASH_BYTES: Final = 32
_GENERATION = re.compile(r"(?P<sequence>\d{6,})-(?P<began>\d{8}T\d{6}Z)-[0-9a-f]{8}")
_LEVEL: Final = 1


class Begin(msgspec.Struct, frozen=True, kw_only=True):
    """How a generation began: at that place of the log of that database, and why the one before it did not go on.

    Everything committed up to that place is in the first backup of the generation. `previous` is the generation before it
    and `shipped` how far that one came; None when there was none.
    """

    format: int = FORMAT
    generation: str
    began: str
    why: str
    previous: str | None
    shipped: int | None
    database: str
    device: int
    inode: int
    host: str
    page_size: int
    salts: Salts
    frame: int
    checksum: Checksum
    envelope: Envelope | None
    check: str = ""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One more data key of a generation."""

    generation: str
    envelope: Envelope
    check: str = ""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What one segment holds.

    Frames `first` to `last` of the round `salts`, the running checksum being `before` and `after` them. `commits` are those
    that end in it: the last frame of each, and how many units the image has then. `read_at` is when they were read, never
    earlier than in the segment before; `position` is how far the application had come by then, at most, None when it does
    not tell. `previous` is the hash at the end of the segment before it, or of begin.json.
    """

    format: int = FORMAT
    generation: str
    index: int
    page_size: int
    salts: Salts
    first: int
    last: int
    before: Checksum
    after: Checksum
    commits: tuple[tuple[int, int], ...]
    read_at: str
    position: int | None
    previous: str
    key_id: str

    @property
    def end(self) -> Position:
        """The place in the log after it."""
        return Position(self.salts, self.last, self.after)

    @property
    def body_bytes(self) -> int:
        """How long its frames are, as they were in the log."""
        return (self.last - self.first + 1) * (FRAME_HEADER_BYTES + self.page_size)


@dataclass(frozen=True, slots=True)
class Stored:
    """A segment as stored: header and body told apart, and the hash at its end by which the next one knows it.

    Body, place and hash are empty when only its header was read.
    """

    header: Header
    body: bytes
    place: str
    hash: str


def generation_id(sequence: int, began: str, token: str) -> str:
    """`000003-20261123T090000Z-1f3a9c2e`: the sequence says what came after what, the token tells it from any other."""
    return f"{sequence:06d}-{began}-{token}"


def sequence_of(generation: str) -> int | None:
    """The sequence in that name, None when it names no generation."""
    match = _GENERATION.fullmatch(generation)
    return int(match["sequence"]) if match else None


def began_at(generation: str) -> datetime:
    """When the generation of that name was begun, to the second."""
    return parse(generation.split("-")[1])


def begin_name(generation: str) -> str:
    return f"{PREFIX}{generation}/begin.json"


def key_name(generation: str, key_id: str) -> str:
    return f"{PREFIX}{generation}/key-{key_id}.json"


def name_of(generation: str, index: int) -> str:
    return f"{PREFIX}{generation}/{index:010d}"


def index_in(name: str) -> tuple[str, int] | None:
    """The generation and the index in the name of a segment, None when it is something else."""
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != "log" or not parts[2].isdecimal() or sequence_of(parts[1]) is None:
        return None
    return parts[1], int(parts[2])


def encode_begin(begin: Begin, key: bytes) -> bytes:
    """The bytes of begin.json, with the keyed hash by which damage shows."""
    return _with_check(begin, key)


def decode_begin(generation: str, content: bytes, key: bytes | None = None) -> Begin:
    """What begin.json of that generation says. Raises Damaged; without the key, forgery is not looked for."""
    begin = _decoded(content, Begin, begin_name(generation))
    if begin.generation != generation or begin.format != FORMAT:
        raise Damaged(f"{begin_name(generation)} is that of {begin.generation}, format {begin.format}.")
    _require_check(begin, content, key, begin_name(generation))
    return begin


def encode_key(one: Key, key: bytes) -> bytes:
    return _with_check(one, key)


def decode_key(generation: str, key_id: str, content: bytes, key: bytes | None = None) -> Key:
    """The envelope of that key. Raises Damaged."""
    name = key_name(generation, key_id)
    one = _decoded(content, Key, name)
    if one.generation != generation or one.envelope.key_id != key_id:
        raise Damaged(f"{name} holds another key.")
    _require_check(one, content, key, name)
    return one


def hash_of(content: bytes) -> str:
    """By which the first segment knows begin.json."""
    return str(blake3(content).hexdigest())


def encode(header: Header, frames: bytes, sealer: Sealer, key: bytes) -> bytes:
    """The stored bytes of a segment. `key` is that of the host's hashes."""
    told = msgspec.json.encode(header)
    body = sealer.seal(_place(told, header), zstd.compress(frames, _LEVEL))
    content = b"".join((_MAGIC, _LENGTH.pack(len(told)), told, body))
    return content + blake3(content, key=key).digest()


def decode(generation: str, index: int, content: bytes, key: bytes | None = None) -> Stored:
    """The segment with that place in the log. Raises Damaged for anything else, in one sentence.

    Without the key neither damage nor forgery is looked for: good enough to learn where a host of its own stands.
    """
    name = name_of(generation, index)
    bare, ending = content[:-_HASH_BYTES], content[-_HASH_BYTES:]
    end = head_bytes(name, bare)
    if key is not None and blake3(bare, key=key).digest() != ending:
        raise Damaged(f"{name} is damaged: its hash differs.")
    told = bare[_HEADER_AT:end]
    header = _header_of(generation, index, told)
    return Stored(header, bare[end:], _place(told, header), ending.hex())


def decode_head(generation: str, index: int, head: bytes) -> Stored:
    """The segment by its header alone, without body and hash: what it says of itself, unproved. Raises Damaged.

    `head` are at least its first `head_bytes`, or all there is of it.
    """
    told = head[_HEADER_AT : head_bytes(name_of(generation, index), head)]
    return Stored(_header_of(generation, index, told), b"", "", "")


def head_bytes(name: str, start: bytes) -> int:
    """How far the header reaches in a segment that begins like that. Raises Damaged."""
    if not start.startswith(_MAGIC) or len(start) < _HEADER_AT:
        raise Damaged(f"{name} is no segment of a log, or was cut short.")
    (length,) = _LENGTH.unpack_from(start, len(_MAGIC))
    return _HEADER_AT + int(length)


def frames_of(stored: Stored, sealer: Sealer) -> bytes:
    """The frames in a segment, as they were in the log. Raises Damaged."""
    name = name_of(stored.header.generation, stored.header.index)
    try:
        frames = zstd.decompress(sealer.open(stored.place, stored.body))
    except zstd.ZstdError as error:
        raise Damaged(f"{name} cannot be decompressed: {error}.") from error
    if len(frames) != stored.header.body_bytes:
        raise Damaged(f"{name} holds {len(frames)} bytes of log, and {stored.header.body_bytes} were shipped.")
    return frames


def follows(before: Stored | None, stored: Stored) -> str:
    """Why this segment does not go on where the one before it ended, empty when it does. None is trusted blindly.

    Of one that is known by its header alone the hash is not compared.
    """
    if before is None:
        return ""
    old, new = before.header, stored.header
    name = name_of(new.generation, new.index)
    if before.hash and new.previous != before.hash:
        return f"{name} does not follow on the segment before it: it was written after another one."
    same_round = new.salts == old.salts and (new.first, new.before) == (old.last + 1, old.after)
    next_round = new.salts != old.salts and (new.first, new.before) == (1, START)
    if not (same_round or next_round) or new.page_size != old.page_size:
        return f"{name} does not go on where the segment before it ended."
    return ""


def commits_in(headers: Sequence[Header]) -> int:
    """How many commits end in these segments."""
    return sum(len(header.commits) for header in headers)


def _header_of(generation: str, index: int, told: bytes) -> Header:
    name = name_of(generation, index)
    header = _decoded(told, Header, name)
    if (header.generation, header.index) != (generation, index):
        raise Damaged(f"{name} holds segment {header.index} of {header.generation}.")
    if not _sound(header):
        raise Damaged(f"{name} contradicts itself.")
    return header


def _place(told: bytes, header: Header) -> str:
    return f"{name_of(header.generation, header.index)}/{blake3(told).hexdigest(16)}"


def _sound(header: Header) -> bool:
    ends = [frame for frame, _ in header.commits]
    return (
        header.format == FORMAT
        and 1 <= header.first <= header.last
        and ends == sorted(set(ends))
        and all(header.first <= end <= header.last for end in ends)
        and all(units > 0 for _, units in header.commits)
    )


_Record = TypeVar("_Record", Begin, Key)
_Struct = TypeVar("_Struct", Begin, Key, Header)


def _with_check(record: _Record, key: bytes) -> bytes:
    bare = msgspec.json.encode(msgspec.structs.replace(record, check=""), order="sorted")
    check = blake3(bare, key=key).hexdigest()
    return msgspec.json.encode(msgspec.structs.replace(record, check=check), order="sorted") + b"\n"


def _require_check(record: _Record, content: bytes, key: bytes | None, name: str) -> None:
    if key is not None and _with_check(record, key) != content:
        raise Damaged(f"{name} is damaged: its hash differs.")


def _decoded(content: bytes, kind: type[_Struct], name: str) -> _Struct:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged(f"{name} cannot be read: {error}.") from error
