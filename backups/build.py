"""Turning a backup back into a database file, from all links of its chain."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from backups import disk
from backups.engine import Engine
from backups.format.manifest import Manifest
from backups.format.stored_chain import StoredChain, open_chain
from backups.keeping.catalogue import Catalogue
from backups.keys.keyring import Keyring
from backups.progress import Progress, silent
from backups.stores.store import Store


def build(
    store: Store,
    catalogue: Catalogue,
    manifest: Manifest,
    into: Path,
    keyring: Keyring,
    progress: Progress = silent,
) -> None:
    """Write the database of that backup to the new file `into`: on return it is durable and bit for bit what was backed up.

    Raises Damaged when the backup cannot give that, an error about keys when none at hand opens it, NoSpace when it does
    not fit; `into` is then junk.
    """
    write(open_chain(store, catalogue, manifest.id, keyring), into, progress)


def put_together(images: Sequence[StoredChain], into: Path, engine: Engine, progress: Progress = silent) -> bytes:
    """Write the database of a backup to the new file `into` from its images, by the engine where there are several.

    Returns the server's list of what it holds, when it was put together here. Raises as `build` does.
    """
    if len(images) == 1:
        write(images[0], into, progress)
        return b""
    parts = [into.with_name(f"{into.name}-{number}") for number in range(len(images))]
    try:
        for image, part in zip(images, parts, strict=True):
            write(image, part, progress)
        with disk.plainly(f"building {images[-1].table.manifest.id}"):
            return engine.combine(parts, into, progress)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def room_bytes(images: Sequence[StoredChain]) -> int:
    """What `put_together` needs at most: images, the files that they are laid together from, and the result."""
    last = images[-1].table.manifest
    if len(images) == 1:
        return last.size_bytes
    return 2 * sum(image.table.manifest.image_bytes for image in images) + 2 * last.size_bytes


def write(chain: StoredChain, into: Path, progress: Progress = silent) -> None:
    """Write the image of the chain to the new file `into`, durably. Every unit is checked before it is written."""
    manifest = chain.table.manifest
    done_bytes = 0
    with disk.plainly(f"building {manifest.id}"), into.open("xb", buffering=0) as target:
        target.truncate(manifest.image_bytes)
        for unit, content in chain.runs():
            write_at(target.fileno(), content, unit * manifest.unit_bytes)
            done_bytes += len(content)
            progress(done_bytes, manifest.image_bytes, "build")
        disk.sync(target)


def write_at(descriptor: int, content: memoryview | bytes, offset: int) -> None:
    """Write all of it; the kernel may take it in parts."""
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
