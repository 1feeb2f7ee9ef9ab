"""Reading what a backup stored, to the last byte: are these the bytes that were stored, and the units that were read?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from blake3 import blake3

from backups.errors import Damaged, StoreError
from backups.format import chunks, packs, units
from backups.format.chain import Link
from backups.format.manifest import Manifest, Pack
from backups.keys.sealing import Sealer
from backups.pooled import in_order
from backups.progress import Progress, silent
from backups.stores import store as stores
from backups.stores.store import Store

_NAMED_AT_MOST = 3
_PIECE_BYTES = 1 << 20


def read_all(
    store: Store,
    link: Link,
    sealer: Sealer,
    key: bytes,
    progress: Progress = silent,
    done_bytes: int = 0,
    total_bytes: int = 0,
) -> tuple[str, ...]:
    """What is wrong with the packs of one backup, one sentence to a pack; empty when every unit in them is the right one.

    Every stored byte is read and hashed, opened, and every unit compared with its hash in the index.
    """
    total_bytes = total_bytes or link.manifest.stored_bytes
    findings = []
    held: dict[int, list[int]] = {}
    for number, chunk in enumerate(link.index.chunks):
        held.setdefault(chunk.pack, []).append(number)
    with ThreadPoolExecutor(2, "decompress") as openers:
        for number, pack in enumerate(link.manifest.packs):
            try:
                content = stores.read(store, pack.name)
            except StoreError as error:
                findings.append(str(error))
                continue
            finding = _flaw(content, pack)
            wrong = tuple(_wrong_units(link, held.get(number, []), content, sealer, key, openers))
            if finding or wrong:
                findings.append(f"{finding or f'{pack.name} holds other units than its index says.'}{_named(wrong)}")
            done_bytes += pack.stored_bytes
            progress(done_bytes, total_bytes, "read")
    return tuple(findings)


def hash_objects(
    store: Store, objects: Sequence[Pack], progress: Progress = silent, done_bytes: int = 0, total_bytes: int = 0
) -> tuple[str, ...]:
    """What is wrong with these objects as stored bytes, one sentence each, without opening them."""
    total_bytes = total_bytes or sum(stored.stored_bytes for stored in objects)
    findings = []
    for stored in objects:
        finding = _hash_object(store, stored)
        if finding:
            findings.append(finding)
        done_bytes += stored.stored_bytes
        progress(done_bytes, total_bytes, "read")
    return tuple(findings)


def _hash_object(store: Store, stored: Pack) -> str:
    hasher, size_bytes = blake3(), 0
    try:
        with store.open(stored.name) as source:
            while piece := source.read(_PIECE_BYTES):
                hasher.update(piece)
                size_bytes += len(piece)
    except StoreError as error:
        return str(error)
    except OSError as error:
        return f"{stored.name} cannot be read from its store: {error.strerror}."
    return _compared(stored, size_bytes, hasher.hexdigest())


def _flaw(content: bytes, pack: Pack) -> str:
    return _compared(pack, len(content), blake3(content).hexdigest())


def _compared(stored: Pack, size_bytes: int, found: str) -> str:
    if size_bytes != stored.stored_bytes:
        return f"{stored.name} has {size_bytes} bytes, and {stored.stored_bytes} were stored."
    return "" if found == stored.blake3 else f"{stored.name} is not the bytes that were stored: its hash differs."


def _wrong_units(
    link: Link, numbers: Sequence[int], content: bytes, sealer: Sealer, key: bytes, openers: ThreadPoolExecutor
) -> Iterator[int]:
    """The units in these chunks of a pack that are not what the index says."""
    manifest, index = link.manifest, link.index

    def opened(number: int) -> bytes | None:
        chunk = index.chunks[number]
        stored = content[chunk.offset : chunk.offset + chunk.size]
        size_bytes = len(index.units_in(number)) * manifest.unit_bytes
        try:
            return chunks.open_(stored, size_bytes, sealer, chunks.place_of(manifest.id, number))
        except Damaged:
            return None

    for number, plain in zip(numbers, in_order(openers, opened, numbers, 16), strict=True):
        held = index.units_in(number)
        if plain is None:
            yield from held
            continue
        first = number * chunks.UNITS * units.HASH_BYTES
        found = units.hashes_of(plain, manifest.unit_bytes, key)
        if index.hashes[first : first + len(found)] != found:
            for slot, unit in enumerate(held):
                at = slot * units.HASH_BYTES
                if index.hashes[first + at : first + at + units.HASH_BYTES] != found[at : at + units.HASH_BYTES]:
                    yield unit


def _named(wrong: Sequence[int]) -> str:
    if not wrong:
        return ""
    shown = ", ".join(map(str, wrong[:_NAMED_AT_MOST]))
    more = f" and {len(wrong) - _NAMED_AT_MOST} more" if len(wrong) > _NAMED_AT_MOST else ""
    return f" Units {shown}{more} are lost."


def index_flaw(store: Store, manifest: Manifest, sealer: Sealer) -> str:
    """What is wrong with the index of that backup; empty when it can be read and fits its manifest."""
    try:
        packs.read_index(store, manifest, sealer)
    except Damaged as error:
        return str(error)
    return ""
