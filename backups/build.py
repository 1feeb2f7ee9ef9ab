"""Turning a backup back into a database file, from all links of its chain."""

from __future__ import annotations

import os
from pathlib import Path

from backups import disk
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


def write(chain: StoredChain, into: Path, progress: Progress = silent) -> None:
    """Write the image of the chain to the new file `into`, durably. Every unit is checked before it is written."""
    manifest = chain.table.manifest
    done_bytes = 0
    with disk.plainly(f"building {manifest.id}"), into.open("xb", buffering=0) as target:
        target.truncate(manifest.size_bytes)
        for unit, content in chain.runs():
            write_at(target.fileno(), content, unit * manifest.unit_bytes)
            done_bytes += len(content)
            progress(done_bytes, manifest.size_bytes, "build")
        disk.sync(target)


def write_at(descriptor: int, content: memoryview | bytes, offset: int) -> None:
    """Write all of it; the kernel may take it in parts."""
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
