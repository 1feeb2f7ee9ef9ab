"""Chains: a full backup and the incremental ones on top of it, laid over one another to one table of the image.

    full:   0 1 2 3 4 5 6        link 0
    incr:     1     4            link 1          the table:  unit -> hash, and which link stores it at which position
    incr:           4     7      link 2                      0:0  1:1  2:0  3:0  4:2  5:0  6:0  7:2

A native increment has an image of its own, of the blocks that changed: a full backup, two incremental ones and two native
ones on top are three images, which the server's own program lays together.

Pure: manifests and indexes in, a table out. Each link names its own number of units, so a database that shrank and grew
again has no unit of before the shrinking.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from backups.errors import Damaged
from backups.format import chunks, units
from backups.format.index import Index
from backups.format.manifest import Manifest
from backups.format.units import HASH_BYTES

MOST_LINKS: Final = 24
"""How many incremental backups may stand on one full one: what a restore has to read through stays bounded."""

_NOWHERE: Final = 255


@dataclass(frozen=True, slots=True)
class Link:
    """One backup of a chain, and what it stores."""

    manifest: Manifest
    index: Index


def manifests_of(backup_id: str, known: Mapping[str, Manifest]) -> tuple[Manifest, ...]:
    """The chain that ends with that backup, the full one first. Raises Damaged when a link is missing or does not fit."""
    found: list[Manifest] = []
    wanted: str | None = backup_id
    while wanted is not None:
        manifest = known.get(wanted)
        if manifest is None:
            raise Damaged(f"Its parent {wanted} is missing.")
        found.append(manifest)
        wanted = manifest.parent
        if len(found) > MOST_LINKS + 1:
            raise Damaged(f"Its chain is longer than {MOST_LINKS} links.")
    found.reverse()
    for length, manifest in enumerate(found):
        if manifest.chain_length != length or manifest.unit_bytes != found[0].unit_bytes:
            raise Damaged(f"Its chain does not fit together: {manifest.id} is not link {length} of it.")
        if length and found[length - 1].native and not manifest.native:
            raise Damaged(
                f"Its chain does not fit together: {manifest.id} has units laid over an increment of a server's."
            )
    return tuple(found)


def images_of(links: Sequence[Manifest]) -> tuple[tuple[Manifest, ...], ...]:
    """The chain by its images: the full one with all that lay units over it, then each native increment by itself."""
    whole = tuple(link for link in links if not link.native)
    return (whole, *((link,) for link in links if link.native))


@dataclass(frozen=True, slots=True)
class Table:
    """The image at the end of a chain: the hash of every unit, which link stores it, and at which position there."""

    links: tuple[Link, ...]
    hashes: bytearray
    stored_by: bytearray
    positions: array[int]

    @property
    def units(self) -> int:
        return len(self.stored_by)

    @property
    def manifest(self) -> Manifest:
        return self.links[-1].manifest

    def hash_of(self, unit: int) -> bytes:
        return bytes(self.hashes[unit * HASH_BYTES : (unit + 1) * HASH_BYTES])

    def live(self, link: int, chunk: int) -> list[tuple[int, int]]:
        """The units of that chunk that are the image's own: (slot in the chunk, unit); the others were stored anew later."""
        first = chunk * chunks.UNITS
        stored_by, positions = self.stored_by, self.positions
        return [
            (slot, unit)
            for slot, unit in enumerate(self.links[link].index.units_in(chunk))
            if unit < len(stored_by) and stored_by[unit] == link and positions[unit] == first + slot
        ]


def overlay(links: Sequence[Link], key: bytes) -> Table:
    """The table at the end of that chain. Raises Damaged when the links do not add up to the image of the last manifest."""
    table = Table(tuple(links), bytearray(), bytearray(), array("I"))
    for number, link in enumerate(links):
        _resize(table, link.manifest.units)
        _lay(table, number, link.index)
    last = links[-1].manifest
    if _NOWHERE in table.stored_by:
        raise Damaged(f"Unit {table.stored_by.index(_NOWHERE)} of {last.id} is stored in no link of its chain.")
    if units.root_of(table.hashes, key) != last.root:
        raise Damaged(f"The chain of {last.id} does not add up to the image that its manifest describes.")
    return table


def _resize(table: Table, wanted: int) -> None:
    del table.hashes[wanted * HASH_BYTES :], table.stored_by[wanted:], table.positions[wanted:]
    missing = wanted - table.units
    table.hashes.extend(bytes(missing * HASH_BYTES))
    table.stored_by.extend(bytes([_NOWHERE]) * missing)
    table.positions.extend(array("I", bytes(4 * missing)))


def _lay(table: Table, number: int, index: Index) -> None:
    if index.units == range(table.units):
        table.hashes[:] = index.hashes
        table.stored_by[:] = bytes([number]) * table.units
        table.positions[:] = array("I", index.units)
        return
    for position, unit in enumerate(index.units):
        table.hashes[unit * HASH_BYTES : (unit + 1) * HASH_BYTES] = index.hash_at(position)
        table.stored_by[unit] = number
        table.positions[unit] = position
