"""A database at rest, a store with two backups of it, and where their files lie."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from backups.format import manifest as manifests
from backups.format.manifest import Manifest, Predecessor, name_of
from backups.stores.directory import DirectoryStore
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


@dataclass(frozen=True, slots=True)
class Chain:
    """A database at rest, a store with a full backup and two incremental ones, and what the database held at each."""

    database: Path
    store: DirectoryStore
    links: tuple[Manifest, ...]
    states: tuple[databases.Contents, ...]

    def copy_to(self, root: Path) -> Chain:
        """The same chain in the new directory `root`, as if it had always been there."""
        shutil.copytree(self.database.parent, root)
        moved = replace(self, database=root / self.database.name, store=DirectoryStore(root / "store"))
        links: list[Manifest] = []
        previous: Predecessor | None = None
        for link in self.links:
            link = manifests.signed(
                msgspec.structs.replace(link, database=str(moved.database), previous=previous), lambda _: ""
            )
            content = manifests.encode(link)
            moved.path_of(name_of(link.id)).write_bytes(content)
            previous = Predecessor(link.id, manifests.fingerprint(content))
            links.append(link)
        return replace(moved, links=tuple(links))

    def path_of(self, name: str) -> Path:
        return Path(self.store.address) / name
