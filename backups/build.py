"""Turning a backup back into a database file. What a chain of backups needs to become one file belongs here."""

from __future__ import annotations

from pathlib import Path

from backups import packing
from backups.errors import Damaged
from backups.manifest import Manifest
from backups.progress import Progress, silent
from backups.store import Store


def build(store: Store, manifest: Manifest, into: Path, progress: Progress = silent) -> None:
    """Write the database of that backup to the new file `into`: on return it is durable and bit for bit what was packed.

    Raises Damaged when the backup cannot give that, NoSpace when it does not fit; `into` is then junk.
    """
    if manifest.kind != "full" or len(manifest.files) != 1:
        raise Damaged(
            f"It is a backup of kind {manifest.kind}, which this version cannot restore: use a newer version."
        )
    packing.unpack(store, manifest.files[0], into, progress)
