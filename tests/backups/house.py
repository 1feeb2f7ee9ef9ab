"""A database at rest, a store with two backups of it, and where their files lie."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from backups.directory_store import DirectoryStore
from backups.manifest import Manifest, name_of
from tests.backups import databases


@dataclass(frozen=True, slots=True)
class House:
    """A database at rest and a store with two backups of it, `older` of 200 operations and `newer` of 230."""

    database: Path
    store: DirectoryStore
    older: Manifest
    newer: Manifest
    then: databases.Contents
    now: databases.Contents

    def copy_to(self, root: Path) -> House:
        """The same house in the new directory `root`, logs of the database included."""
        shutil.copytree(self.database.parent, root)
        return replace(self, database=root / self.database.name, store=DirectoryStore(root / "store"))

    def object_of(self, manifest: Manifest) -> Path:
        return Path(self.store.address) / manifest.packs[0].name

    def manifest_of(self, manifest: Manifest) -> Path:
        return Path(self.store.address) / name_of(manifest.id)
