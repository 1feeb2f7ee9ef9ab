"""A server's log as it lies in a store: whole segments, pieces of the one that is not whole yet, and timelines' histories.

    wal/<system>/000000010000000000000003              a segment
    wal/<system>/000000010000000000000004.p000007      a piece of one, from where the piece before it ended, at most
    wal/<system>/00000002.history                      how a timeline branched off
    wal/<system>/key-<key id>.json                     the envelope of a data key; each receiver has its own

Each is  magic | length | header (JSON) | body (zstd, sealed for its own name) | BLAKE3 of all that.  Pieces overlap where a
page was only half full, and are laid over one another in their order; what no piece holds is zeros, where recovery ends.
Once a segment is there, its pieces are deleted.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from backups.errors import Damaged, NameTaken
from backups.keys.keyring import Envelope, Keyring
from backups.keys.sealing import PLAIN, Sealer
from backups.stores.store import Store, read

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PREFIX: Final = "wal/"
FORMAT: Final = 1
SEGMENT: Final = re.compile(r"[0-9A-F]{24}")
HISTORY: Final = re.compile(r"[0-9A-F]{8}\.history")
_PIECE: Final = re.compile(r"(?P<segment>[0-9A-F]{24})\.p(?P<number>\d{6})")
_MAGIC: Final = b"gymwal1\n"
_LENGTH: Final = struct.Struct(">I")
_HEADER_AT: Final = len(_MAGIC) + _LENGTH.size
_HASH_BYTES: Final = 32
_LEVEL: Final = 1
_MOST_BYTES: Final = 1 << 30
"""How large a segment can be configured to be at most."""
_FETCHERS: Final = 4


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What one object holds: the bytes of `segment` from `begin` on, `size` of them; `read_at` is RFC 3339."""

    format: int = FORMAT
    system: str
    segment: str
    begin: int
    size: int
    read_at: str
    key_id: str


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One data key in its envelope; `mac` is the code of whoever made it, see `Keyring.mac`."""

    system: str
    envelope: Envelope
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What the store holds of one server's log: names of segments and histories, and each segment's pieces in order."""

    segments: frozenset[str]
    histories: frozenset[str]
    pieces: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def newest(self) -> str | None:
        """The last segment that anything is held of, on the newest timeline."""
        return max((*self.segments, *self.pieces), default=None)


@dataclass(slots=True)
class Archive:
    """The log of one server in a store. A sealed archive is written with a data key of this object's own."""

    store: Store
    system: str
    keyring: Keyring
    _sealer: Sealer | None = None
    _sealers: dict[str, Sealer] = field(default_factory=dict)

    def held(self) -> Held:
        """What is there now."""
        segments, histories, pieces = set(), set(), dict[str, list[str]]()
        for stored in self.store.list(f"{PREFIX}{self.system}/"):
            name = stored.name.rpartition("/")[2]
            if SEGMENT.fullmatch(name):
                segments.add(name)
            elif HISTORY.fullmatch(name):
                histories.add(name)
            elif match := _PIECE.fullmatch(name):
                pieces.setdefault(match["segment"], []).append(name)
        whole = {segment: tuple(sorted(names)) for segment, names in pieces.items() if segment not in segments}
        return Held(frozenset(segments), frozenset(histories), whole)

    def put(self, name: str, content: bytes, read_at: str) -> None:
        """A segment or a history is durable in the store, and pieces of it are gone. The same one twice is no error."""
        self._create(name, name, 0, content, read_at)
        for stored in self.store.list(f"{PREFIX}{self.system}/{name}.p"):
            self.store.delete(stored.name)

    def put_piece(self, segment: str, number: int, begin: int, content: bytes, read_at: str) -> None:
        """A piece of a segment that is not whole yet is durable in the store."""
        self._create(f"{segment}.p{number:06d}", segment, begin, content, read_at)

    def next_piece(self, segment: str) -> int:
        """The number of the next piece."""
        pieces = self.held().pieces.get(segment, ())
        return 1 + max((int(name.rpartition(".p")[2]) for name in pieces), default=0)

    def fetch(
        self, into: Path, first: str, segment_bytes: int, progress: Callable[[int, int], None] = lambda _, __: None
    ) -> tuple[str, ...]:
        """Everything from segment `first` on, on any timeline from its own, as files in the directory `into`.

        Returns the names. A segment of which only pieces are held is filled up with zeros. Raises Damaged.
        """
        held = self.held()
        wanted = [
            name for name in sorted({*held.segments, *held.pieces}) if name[8:] >= first[8:] and name[:8] >= first[:8]
        ]
        names = (*sorted(held.histories), *wanted)

        def one(name: str) -> None:
            content = self.get(name) if name not in held.pieces else self._joined(held.pieces[name], segment_bytes)
            (into / name).write_bytes(content)

        with ThreadPoolExecutor(_FETCHERS, "wal") as pool:
            for number, _ in enumerate(pool.map(one, names), 1):
                progress(number, len(names))
        return names

    def get(self, name: str) -> bytes:
        """The whole of a segment or a history. Raises Damaged."""
        return self._read(name)[1]

    def _joined(self, pieces: Iterable[str], segment_bytes: int) -> bytes:
        joined = bytearray(segment_bytes)
        for name in pieces:
            header, content = self._read(name)
            joined[header.begin : header.begin + len(content)] = content
        return bytes(joined[:segment_bytes])

    def _create(self, name: str, segment: str, begin: int, content: bytes, read_at: str) -> None:
        sealer = self._writing()
        header = msgspec.json.encode(
            Header(
                system=self.system,
                segment=segment,
                begin=begin,
                size=len(content),
                read_at=read_at,
                key_id=sealer.key_id,
            )
        )
        place = self._place(name, header)
        body = sealer.seal(place, zstd.compress(content, level=_LEVEL))
        whole = b"".join((_MAGIC, _LENGTH.pack(len(header)), header, body))
        with suppress(NameTaken):  # By a receiver that was killed before it could say so.
            self.store.create(f"{PREFIX}{self.system}/{name}", (whole, blake3(whole).digest()))

    def _read(self, name: str) -> tuple[Header, bytes]:
        whole = read(self.store, f"{PREFIX}{self.system}/{name}")
        content, check = whole[:-_HASH_BYTES], whole[-_HASH_BYTES:]
        if not content.startswith(_MAGIC) or blake3(content).digest() != check:
            raise Damaged(f"The log's {name} is damaged: its hash differs.")
        length = _LENGTH.unpack_from(content, len(_MAGIC))[0]
        encoded = content[_HEADER_AT : _HEADER_AT + length]
        try:
            header = msgspec.json.decode(encoded, type=Header)
        except msgspec.MsgspecError as error:
            raise Damaged(f"The log's {name} is not a part of a log: {error}.") from error
        if header.system != self.system or header.segment != name.partition(".p")[0] or header.format != FORMAT:
            raise Damaged(
                f"The log's {name} is {header.segment} of the server {header.system}, format {header.format}."
            )
        plain = self._reading(header.key_id).open(self._place(name, encoded), content[_HEADER_AT + length :])
        try:
            body = zstd.ZstdDecompressor().decompress(plain, _MOST_BYTES)
        except zstd.ZstdError as error:
            raise Damaged(f"The log's {name} cannot be unpacked: {error}.") from error
        if len(body) != header.size:
            raise Damaged(f"The log's {name} has {len(body)} bytes, and {header.size} were stored.")
        return header, body

    def _place(self, name: str, header: bytes) -> str:
        """What the body is sealed for: its name and its header."""
        return f"{PREFIX}{self.system}/{name} {blake3(header).hexdigest()}"

    def _writing(self) -> Sealer:
        if self._sealer is None:
            self._sealer, envelope = self.keyring.new(f"{PREFIX}{self.system}")
            if envelope is not None:
                bare = msgspec.json.encode(Key(system=self.system, envelope=envelope), order="sorted")
                key = Key(system=self.system, envelope=envelope, mac=self.keyring.mac(bare))
                self.store.create(self._key_name(envelope.key_id), (msgspec.json.encode(key, order="sorted"),))
        return self._sealer

    def _reading(self, key_id: str) -> Sealer:
        if not key_id:
            if self.keyring.identities:
                raise Damaged("Its log is not sealed, so anybody who can write to the store may have made it.")
            return PLAIN
        if key_id not in self._sealers:
            content = read(self.store, self._key_name(key_id))
            try:
                key = msgspec.json.decode(content, type=Key)
            except msgspec.MsgspecError as error:
                raise Damaged(f"The log's key {key_id} cannot be read: {error}.") from error
            opened = self.keyring.opened(key.envelope)
            bare = msgspec.json.encode(msgspec.structs.replace(key, mac=""), order="sorted")
            if key.system != self.system or not opened.keys.authentic(bare, key.mac):
                raise Damaged(f"The log's key {key_id} was not written by who holds it: its code differs.")
            self._sealers[key_id] = opened.sealer
        return self._sealers[key_id]

    def _key_name(self, key_id: str) -> str:
        return f"{PREFIX}{self.system}/key-{key_id}.json"
