"""Packs: chunks one after another in objects of at most 16 MiB, written as they fill and read in ranges.

    units --64 at a time--> two threads: compress, seal --in order--> pack --one thread--> store

Memory stays bounded whatever the size of the database: so many chunks under way, so many packs, and no more.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Final, Self

from blake3 import blake3

from backups.errors import BackupError, Damaged, StoreError
from backups.format import chunks, index, listing
from backups.format.index import Chunk, Index
from backups.format.manifest import Manifest, Pack
from backups.keys.sealing import Sealer
from backups.pooled import in_order
from backups.stores.store import Store

MOST_BYTES: Final = 16 << 20
"""How large a pack becomes at most."""

_THREADS = 2
UNDER_WAY: Final = 16
_PACKS_UNDER_WAY = 2
_RANGE_BYTES = 4 << 20
"""How much is fetched at once at most; what lies between two wanted chunks is never fetched."""


def name_of(backup_id: str, number: int) -> str:
    return f"objects/{backup_id}/pack-{number:04d}"


def name_of_index(backup_id: str) -> str:
    return f"objects/{backup_id}/index"


class Writer:
    """Takes the units that a backup stores, in ascending order, and puts them into packs.

    Leaving the block in any way but after `finish()` deletes what was written. One thread calls; the work of the others
    comes back to it as results or as the error that stopped them.
    """

    def __init__(self, store: Store, backup_id: str, sealer: Sealer, index_sealer: Sealer) -> None:
        self._store = store
        self._backup_id = backup_id
        self._sealer = sealer
        self._index_sealer = index_sealer
        self._units = array("I")
        self._waiting: list[bytes | memoryview] = []
        self._waiting_units = 0
        self._closing: deque[Future[bytes]] = deque()
        self._chunks: list[Chunk] = []
        self._pack: list[bytes] = []
        self._pack_bytes = 0
        self._packs: list[Pack] = []
        self._storing: deque[Future[None]] = deque()
        self._undo = ExitStack()
        self._compressors = ThreadPoolExecutor(_THREADS, "compress")
        self._uploader = ThreadPoolExecutor(1, "store")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._compressors.shutdown(cancel_futures=True)
        self._uploader.shutdown(cancel_futures=True)
        self._undo.close()

    def add(self, unit: int, content: bytes | memoryview, unit_bytes: int | None = None) -> None:
        """Store this unit of the image, or with `unit_bytes` all that follow it in `content`; above those before.

        Whole chunks are not copied, so what they lie in must stay as it is until `UNDER_WAY` more chunks were added.
        """
        left = memoryview(content)
        size = unit_bytes or len(left)
        self._units.extend(range(unit, unit + len(left) // size))
        while left:
            piece = left[: (chunks.UNITS - self._waiting_units) * size]
            self._waiting_units += len(piece) // size
            self._waiting.append(piece if len(piece) == chunks.UNITS * size else bytes(piece))
            left = left[len(piece) :]
            if self._waiting_units == chunks.UNITS:
                self._close_chunk()

    @property
    def stored_bytes(self) -> int:
        """What has been put into packs so far."""
        return sum(pack.stored_bytes for pack in self._packs) + self._pack_bytes

    def finish(self, hashes: bytes, image_units: int) -> tuple[tuple[Pack, ...], Pack, Index]:
        """Write what is left and the index, given the hash of each unit added; the packs and the index are durable then.

        They stay until the block ends by `keep()`.
        """
        if self._waiting:
            self._close_chunk()
        while self._closing:
            self._place_chunk()
        if self._pack:
            self._store_pack()
        while self._storing:
            self._storing.popleft().result()
        dense = len(self._units) == image_units
        table = Index(range(image_units) if dense else self._units, hashes, tuple(self._chunks))
        content = index.encode(table, self._backup_id, self._index_sealer)
        return tuple(self._packs), self._create(name_of_index(self._backup_id), content), table

    def list(self, content: bytes) -> Pack | None:
        """The server's list of what it sent is durable beside the packs, as they are; None when there is none."""
        if not content:
            return None
        sealed = listing.encode(content, self._backup_id, self._index_sealer)
        return self._create(listing.name_of(self._backup_id), sealed)

    def keep(self) -> None:
        """The backup is published: nothing of it is to be deleted any more."""
        self._undo.pop_all()

    def _create(self, name: str, content: bytes) -> Pack:
        self._undo.callback(_forget, self._store, name)
        self._store.create(name, (content,))
        return Pack(name, len(content), blake3(content).hexdigest())

    def _close_chunk(self) -> None:
        number = len(self._chunks) + len(self._closing)
        place = chunks.place_of(self._backup_id, number)
        waiting, self._waiting, self._waiting_units = self._waiting, [], 0
        if len(self._closing) >= UNDER_WAY:
            self._place_chunk()
        self._closing.append(self._compressors.submit(_closed, waiting, self._sealer, place))

    def _place_chunk(self) -> None:
        """Put the oldest chunk under way into the pack, or into the next one when it would grow too large."""
        content = self._closing.popleft().result()
        if self._pack_bytes + len(content) > MOST_BYTES:
            self._store_pack()
        self._chunks.append(Chunk(len(self._packs), self._pack_bytes, len(content)))
        self._pack.append(content)
        self._pack_bytes += len(content)

    def _store_pack(self) -> None:
        while len(self._storing) >= _PACKS_UNDER_WAY:
            self._storing.popleft().result()
        name = name_of(self._backup_id, len(self._packs))
        content, self._pack = self._pack, []
        hasher = blake3()
        for piece in content:
            hasher.update(piece)
        self._packs.append(Pack(name, self._pack_bytes, hasher.hexdigest()))
        self._pack_bytes = 0
        self._undo.callback(_forget, self._store, name)
        self._storing.append(self._uploader.submit(_stored, self._store, name, content))


def _closed(pieces: list[bytes | memoryview], sealer: Sealer, place: str) -> bytes:
    return chunks.close(pieces[0] if len(pieces) == 1 else b"".join(pieces), sealer, place)


def _stored(store: Store, name: str, content: list[bytes]) -> None:
    store.create(name, content)


def read_index(store: Store, manifest: Manifest, sealer: Sealer) -> Index:
    """The index of that backup. Raises Damaged."""
    content = _fetch_whole(store, manifest, manifest.index)
    sizes = [pack.stored_bytes for pack in manifest.packs]
    try:
        return index.decode(content, manifest.id, manifest.units, sizes, sealer)
    except Damaged as error:
        raise Damaged(str(error), manifest.id) from error


def read_listing(store: Store, manifest: Manifest, sealer: Sealer) -> bytes:
    """The server's list of what it sent, empty when there is none; by the sealer of the index. Raises Damaged."""
    if manifest.listing is None:
        return b""
    content = _fetch_whole(store, manifest, manifest.listing)
    try:
        return listing.decode(content, manifest.id, sealer)
    except Damaged as error:
        raise Damaged(str(error), manifest.id) from error


def read_chunks(
    store: Store, manifest: Manifest, table: Index, sealer: Sealer, wanted: Iterable[int]
) -> Iterator[tuple[int, bytes]]:
    """Those chunks of the backup in ascending order, opened: (number, units). Only their own bytes are fetched.

    Raises Damaged, naming the pack, when one is not what was stored; the units themselves are for the caller to check.
    """
    with ThreadPoolExecutor(_THREADS, "decompress") as openers, ThreadPoolExecutor(1, "fetch") as fetcher:
        ranges = in_order(fetcher, partial(_fetched, store, manifest, table), _ranges(table, wanted), ahead=1)
        stored = (piece for pieces in ranges for piece in pieces)
        yield from in_order(openers, partial(_opened, manifest, table, sealer), stored, UNDER_WAY)


def _opened(manifest: Manifest, table: Index, sealer: Sealer, stored: tuple[int, bytes]) -> tuple[int, bytes]:
    number, content = stored
    size_bytes = len(table.units_in(number)) * manifest.unit_bytes
    try:
        return number, chunks.open_(content, size_bytes, sealer, chunks.place_of(manifest.id, number))
    except Damaged as error:
        pack = manifest.packs[table.chunks[number].pack].name
        raise Damaged(f"{pack} is not what was stored: {error}", manifest.id) from error


def _ranges(table: Index, wanted: Iterable[int]) -> Iterator[list[int]]:
    """The wanted chunks in groups that lie next to each other in one pack, each at most so many bytes."""
    group: list[int] = []
    for number in wanted:
        chunk = table.chunks[number]
        if group:
            first, last = table.chunks[group[0]], table.chunks[group[-1]]
            adjacent = chunk.pack == last.pack and chunk.offset == last.offset + last.size
            if not adjacent or chunk.offset + chunk.size - first.offset > _RANGE_BYTES:
                yield group
                group = []
        group.append(number)
    if group:
        yield group


def _fetched(store: Store, manifest: Manifest, table: Index, numbers: list[int]) -> list[tuple[int, bytes]]:
    first, last = table.chunks[numbers[0]], table.chunks[numbers[-1]]
    pack, size_bytes = manifest.packs[first.pack], last.offset + last.size - first.offset
    content = _fetch(store, manifest, pack, first.offset, size_bytes)
    pieces = []
    for number in numbers:
        at = table.chunks[number].offset - first.offset
        pieces.append((number, content[at : at + table.chunks[number].size]))
    return pieces


def _fetch_whole(store: Store, manifest: Manifest, stored: Pack) -> bytes:
    content = _fetch(store, manifest, stored, 0, stored.stored_bytes)
    if blake3(content).hexdigest() != stored.blake3:
        raise Damaged(f"{stored.name} is not the bytes that were stored: its hash differs.", manifest.id)
    return content


def _fetch(store: Store, manifest: Manifest, stored: Pack, offset: int, size: int) -> bytes:
    """The range, or Damaged: an object that is missing or short is a damaged backup."""
    try:
        return store.fetch(stored.name, offset, size)
    except StoreError as error:
        raise Damaged(str(error), manifest.id) from error


def _forget(store: Store, name: str) -> None:
    """Delete what is left of a run that failed; when the store is away as well, the next run sweeps it."""
    with suppress(BackupError):
        store.delete(name)
