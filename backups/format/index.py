"""The index of a backup: which units it stores, the hash of each, and where each chunk of them lies.

    objects/<id>/index   =  sealed zstd of msgpack [format, backup id, units, hashes, chunks]

A full backup stores every unit; an incremental one only those that differ from its parent. What is read back is believed
only when every number in it fits the manifest that names it.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from backups.errors import Damaged
from backups.format import chunks
from backups.format.units import HASH_BYTES
from backups.keys.sealing import Sealer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_FORMAT: Final = 1


class Chunk(NamedTuple):
    """Where one chunk lies: which pack, from which byte, how many."""

    pack: int
    offset: int
    size: int


class _Written(msgspec.Struct, array_like=True):
    format: int
    backup: str
    units: bytes
    hashes: bytes
    chunks: bytes


@dataclass(frozen=True, slots=True)
class Index:
    """What one backup stores: the numbers of its units, ascending, the hash of each, and the chunks they lie in.

    The unit at position p of `units` is the unit number p % 64 of chunk p // 64.
    """

    units: Sequence[int]
    hashes: bytes
    chunks: tuple[Chunk, ...]

    def hash_at(self, position: int) -> bytes:
        return self.hashes[position * HASH_BYTES : (position + 1) * HASH_BYTES]

    def units_in(self, chunk: int) -> Sequence[int]:
        """The numbers of the units in that chunk."""
        return self.units[chunk * chunks.UNITS : (chunk + 1) * chunks.UNITS]


def place_of(backup_id: str) -> str:
    """What an index is sealed with."""
    return f"{backup_id}/index"


def encode(index: Index, backup_id: str, sealer: Sealer) -> bytes:
    """The index as it is stored."""
    dense = isinstance(index.units, range)
    written = _Written(
        format=_FORMAT,
        backup=backup_id,
        units=b"" if dense else _packed(index.units),
        hashes=index.hashes,
        chunks=_packed([number for chunk in index.chunks for number in chunk]),
    )
    return sealer.seal(place_of(backup_id), zstd.compress(msgspec.msgpack.encode(written), level=1))


def decode(content: bytes, backup_id: str, image_units: int, pack_sizes: Sequence[int], sealer: Sealer) -> Index:
    """The index in these bytes, of a backup of an image of so many units in packs of these sizes. Raises Damaged."""
    compressed = sealer.open(place_of(backup_id), content)
    try:
        # At most twenty bytes a unit and twelve a chunk, so that a forged index cannot fill the memory.
        plain = zstd.ZstdDecompressor().decompress(compressed, 4096 + 24 * image_units)
        written = msgspec.msgpack.decode(plain, type=_Written)
    except (zstd.ZstdError, msgspec.MsgspecError) as error:
        raise Damaged(f"The index of {backup_id} cannot be read: {error}.") from error
    if written.format != _FORMAT or written.backup != backup_id:
        raise Damaged(f"The index of {backup_id} is that of {written.backup}, format {written.format}.")
    if len(written.hashes) % HASH_BYTES or len(written.units) % 4 or len(written.chunks) % 12:
        raise Damaged(f"The index of {backup_id} is cut in the middle of an entry.")
    numbers = _unpacked(written.chunks)
    units = _unpacked(written.units) if written.units else range(len(written.hashes) // HASH_BYTES)
    index = Index(units, written.hashes, tuple(map(Chunk, numbers[::3], numbers[1::3], numbers[2::3])))
    _require_fit(index, backup_id, image_units, pack_sizes)
    return index


def _require_fit(index: Index, backup_id: str, image_units: int, pack_sizes: Sequence[int]) -> None:
    units = index.units
    ascending = isinstance(units, range) or all(map(int.__lt__, units, units[1:]))
    if not ascending or len(units) * HASH_BYTES != len(index.hashes) or (units and units[-1] >= image_units):
        raise Damaged(f"The index of {backup_id} names units that the backup cannot have.")
    if len(index.chunks) != -(-len(units) // chunks.UNITS):
        raise Damaged(f"The index of {backup_id} has {len(index.chunks)} chunks, which do not hold {len(units)} units.")
    ends = [0] * len(pack_sizes)
    for pack, offset, size in index.chunks:
        if pack >= len(ends) or offset != ends[pack]:
            raise Damaged(f"The index of {backup_id} places a chunk where none was stored.")
        ends[pack] += size
    if ends != list(pack_sizes):
        raise Damaged(f"The index of {backup_id} does not account for every byte of its packs.")


def _packed(numbers: Sequence[int]) -> bytes:
    """32 bits each, little-endian wherever they are written."""
    packed = array("I", numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _unpacked(content: bytes) -> array[int]:
    numbers = array("I")
    numbers.frombytes(content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
