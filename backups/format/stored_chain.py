"""A chain as it lies in a store: opened with the keys at hand, and read unit by unit, each checked on the way out."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from backups.errors import Damaged
from backups.format import chain, chunks, packs, units
from backups.format import manifest as manifests
from backups.format.chain import Link, Table
from backups.format.manifest import Manifest
from backups.keeping.catalogue import Catalogue
from backups.keys.keyring import HostKeys, Keyring
from backups.keys.sealing import Sealer
from backups.stores.store import Store


@dataclass(frozen=True, slots=True)
class StoredChain:
    """The chain of one backup, from which every unit of its image can be read."""

    store: Store
    table: Table
    sealers: tuple[Sealer, ...]
    key: bytes

    def chunks_of(self, link: int, wanted: bytes | bytearray | None) -> list[int]:
        """The chunks of that link that hold units of the image; with `wanted`, a flag to each unit, only those needed."""
        table = self.table
        index = table.links[link].index
        if wanted is None and len(table.links) == 1:
            return list(range(len(index.chunks)))
        found, last = [], -1
        for position, unit in enumerate(index.units):
            chunk = position // chunks.UNITS
            if (
                chunk == last
                or unit >= table.units
                or table.stored_by[unit] != link
                or table.positions[unit] != position
            ):
                continue
            if wanted is None or wanted[unit]:
                found.append(chunk)
                last = chunk
        return found

    def fetch_bytes(self, wanted: bytes | bytearray | None = None) -> int:
        """How much `runs` will fetch."""
        return sum(
            link.index.chunks[chunk].size
            for number, link in enumerate(self.table.links)
            for chunk in self.chunks_of(number, wanted)
        )

    def runs(self, wanted: bytes | bytearray | None = None) -> Iterator[tuple[int, memoryview]]:
        """The units of the image, or the wanted ones, in runs: (number of the first, units that follow each other).

        In the order in which they are stored. Raises Damaged, naming pack and unit, for one that is not what was backed up.
        """
        for number in range(len(self.table.links)):
            yield from self._runs_of(number, wanted)

    def in_order(self) -> Iterator[memoryview]:
        """The image from its beginning to its end, a run after the other. Raises Damaged as `runs` does.

        Every link is read at once, each in its own order, which is that of the image.
        """
        links = (self._runs_of(number, None) for number in range(len(self.table.links)))
        for _, content in heapq.merge(*links, key=itemgetter(0)):
            yield content

    def _runs_of(self, number: int, wanted: bytes | bytearray | None) -> Iterator[tuple[int, memoryview]]:
        unit_bytes, link = self.table.manifest.unit_bytes, self.table.links[number]
        needed = self.chunks_of(number, wanted)
        for chunk, content in packs.read_chunks(self.store, link.manifest, link.index, self.sealers[number], needed):
            live = [one for one in self.table.live(number, chunk) if wanted is None or wanted[one[1]]]
            self._require(link, chunk, content, live)
            view = memoryview(content)
            for slot, unit, count in _runs(live):
                yield unit, view[slot * unit_bytes : (slot + count) * unit_bytes]

    def _require(self, link: Link, chunk: int, content: bytes, live: list[tuple[int, int]]) -> None:
        unit_bytes, hashes = self.table.manifest.unit_bytes, self.table.hashes
        view = memoryview(content)
        for slot, unit in live:
            found = units.hash_of(view[slot * unit_bytes : (slot + 1) * unit_bytes], self.key)
            if hashes[unit * units.HASH_BYTES : (unit + 1) * units.HASH_BYTES] != found:
                pack = link.manifest.packs[link.index.chunks[chunk].pack].name
                raise Damaged(f"Unit {unit} in {pack} is not what was backed up: its hash differs.", link.manifest.id)


def _runs(live: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """(first slot, first unit, how many) of the units that follow each other both in the chunk and in the image."""
    begin = 0
    for end in range(1, len(live) + 1):
        if end < len(live) and live[end][0] == live[end - 1][0] + 1 and live[end][1] == live[end - 1][1] + 1:
            continue
        yield live[begin][0], live[begin][1], end - begin
        begin = end


def links_of(catalogue: Catalogue, backup_id: str) -> tuple[Manifest, ...]:
    """The manifests of its chain, the full one first. Raises Damaged."""
    known = {entry.id: entry.manifest for entry in catalogue.entries if entry.manifest is not None}
    return chain.manifests_of(backup_id, known)


def open_table(store: Store, catalogue: Catalogue, links: Sequence[Manifest], keyring: Keyring) -> tuple[Table, bytes]:
    """What the one image of these links is made of, and the key of its unit hashes; to be had without opening any chunk.

    Raises Damaged, or an error about keys when neither this host's secret nor an identity fits.
    """
    opened = []
    hash_keys = set()
    for manifest in links:
        keys = keyring.keys_of(manifest.envelope, others=catalogue.envelopes)
        require_authentic(catalogue, manifest, keys)
        hash_keys.add(keys.hash_key)
        opened.append(Link(manifest, packs.read_index(store, manifest, keys.index_sealer(manifest.id))))
    if len(hash_keys) != 1:
        raise Damaged("Its chain was made with more than one key, so its links do not fit together.")
    (key,) = hash_keys
    return chain.overlay(opened, key), key


def open_chain(store: Store, catalogue: Catalogue, backup_id: str, keyring: Keyring) -> StoredChain:
    """The chain of that backup, which is one image, ready to be read; else see `open_images`."""
    images = open_images(store, catalogue, backup_id, keyring)
    if len(images) > 1:
        raise Damaged(f"{backup_id} is an increment of a server's own, and was to be read as a database by itself.")
    return images[0]


def open_images(store: Store, catalogue: Catalogue, backup_id: str, keyring: Keyring) -> tuple[StoredChain, ...]:
    """The images that the backup is put together from, the full one first; one, but for native increments.

    Raises Damaged, or an error about keys when no identity opens it.
    """
    images = []
    for links in chain.images_of(links_of(catalogue, backup_id)):
        sealers = tuple(keyring.open(manifest.envelope, others=catalogue.envelopes) for manifest in links)
        table, key = open_table(store, catalogue, links, keyring)
        images.append(StoredChain(store, table, sealers, key))
    return tuple(images)


def require_authentic(catalogue: Catalogue, manifest: Manifest, keys: HostKeys) -> None:
    """Return when the manifest is one that the host of these keys signed. Raises Damaged."""
    content = catalogue.find(manifest.id).content
    if not keys.authentic(manifests.authenticated(content), manifest.mac):
        raise Damaged(
            f"The manifest of {manifest.id} was not written by who holds its key: its code differs.", manifest.id
        )
