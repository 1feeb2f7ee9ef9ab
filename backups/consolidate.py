"""Synthetic full backups: a chain put together to one full backup, without reading the database again.

    chain --> scratch file --engine's deep check--> packs of a new full backup --read back, every unit--> manifest

Native increments are laid together by the engine, and what they come to is an image of its own; else it is the same image.

Published only once what lies in the store was read again and found to be the image that the chain describes: the chain
below it may be deleted on the strength of this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from backups import build, disk
from backups.clock import SYSTEM, Clock
from backups.engine import Engine, Sent
from backups.errors import Damaged
from backups.format import packs, proof
from backups.format.chain import Link
from backups.format.facts import Facts
from backups.format.manifest import FULL, Manifest
from backups.format.packs import Writer
from backups.format.stored_chain import open_images
from backups.imaging import store_image
from backups.keeping import catalogue as catalogues
from backups.keeping.catalogue import Catalogue
from backups.keys.keyring import Keyring
from backups.progress import Progress, silent
from backups.publishing import new_id, predecessor, publish
from backups.stores.store import Store

_BLOCK_BYTES: Final = 1 << 20


def consolidate(
    engine: Engine,
    store: Store,
    backup_id: str,
    *,
    keyring: Keyring | None = None,
    progress: Progress = silent,
    clock: Clock = SYSTEM,
    free_bytes: disk.FreeBytes = disk.free_bytes,
) -> Manifest:
    """Put the chain of that backup together to a full backup of the same instant, and return its manifest.

    Raises Damaged when the chain does not give the image that it should, an error about keys when no identity opens it,
    Locked, NoSpace or StoreError: nothing new is listed then, and the chain is as it was.
    """
    with store.exclusive(f"consolidation of {backup_id}"):
        catalogue = catalogues.read(store)
        catalogue.find(backup_id)
        return consolidate_locked(
            engine, store, catalogue, backup_id, keyring or Keyring.plain(), progress, clock, free_bytes
        )


def consolidate_locked(
    engine: Engine,
    store: Store,
    catalogue: Catalogue,
    backup_id: str,
    keyring: Keyring,
    progress: Progress = silent,
    clock: Clock = SYSTEM,
    free_bytes: disk.FreeBytes = disk.free_bytes,
) -> Manifest:
    """The same for who holds the store already."""
    began, began_t = clock.now(), clock.monotonic()
    images = open_images(store, catalogue, backup_id, keyring)
    chain = images[-1]
    source = chain.table.manifest
    with store.scratch("consolidate") as scratch:
        need_bytes = build.room_bytes(images) + source.size_bytes // 2
        disk.require_room(scratch, need_bytes, f"a synthetic full of {backup_id}", free_bytes)
        copy = scratch / "database"
        listing = build.put_together(images, copy, engine, progress) or _listing(store, catalogue, source, keyring)
        units = copy.stat().st_size // source.unit_bytes
        findings = engine.check(copy, source.facts, deep=True, progress=progress)
        if findings:
            raise Damaged(f"{backup_id} does not hold what its manifest says: {' '.join(findings)}")
        new = new_id(catalogue, began, FULL, engine.kind)
        sealer, envelope = keyring.new(new)
        keys = keyring.keys_of(envelope)
        index_sealer = keys.index_sealer(new)
        with Writer(store, new, sealer, index_sealer) as writer:
            reading = FileReading(copy, source.unit_bytes, units, source.taken_t, source.facts)
            image = store_image(reading, writer, None, keys.hash_key, progress=progress)
            if keys.hash_key == chain.key and image.root != source.root and not source.native:
                raise Damaged(f"The synthetic full of {backup_id} is not the image of its chain.")
            manifest = msgspec.structs.replace(
                source,
                id=new,
                kind=FULL,
                parent=None,
                previous=predecessor(catalogue),
                synthetic=True,
                seconds=clock.monotonic() - began_t,
                units=image.units,
                stored_units=image.units,
                root=image.root,
                chain_length=0,
                packs=image.packs,
                index=image.index,
                native=False,
                whole_bytes=0,
                why_whole="",
                listing=writer.list(listing),
                envelope=envelope,
            )
            findings = proof.read_all(store, Link(manifest, image.table), sealer, keys.hash_key, progress)
            if findings:
                raise Damaged(f"The synthetic full of {backup_id} was not stored well: {' '.join(findings)}")
            return publish(store, manifest, keys, writer)


def _listing(store: Store, catalogue: Catalogue, source: Manifest, keyring: Keyring) -> bytes:
    """The server's list of what the image holds, which stays the same image."""
    keys = keyring.keys_of(source.envelope, others=catalogue.envelopes)
    return packs.read_listing(store, source, keys.index_sealer(source.id))


@dataclass(frozen=True, slots=True)
class FileReading:
    """The reading of an image that lies in a file already."""

    file: Path
    unit_bytes: int
    units: int
    taken_t: float
    known_facts: Facts
    native: bool = False
    why_whole: str = ""
    sent: Sent | None = None

    def blocks(self) -> Iterator[bytes]:
        step = max(1, _BLOCK_BYTES // self.unit_bytes) * self.unit_bytes
        with self.file.open("rb", buffering=0) as source:
            while block := source.read(step):
                yield block

    def facts(self) -> Facts:
        return self.known_facts
