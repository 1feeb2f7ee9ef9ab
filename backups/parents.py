"""Which backup the next incremental one builds on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backups.errors import Damaged, NoParent, UsageError
from backups.format.chain import MOST_LINKS, Table
from backups.format.stored_chain import links_of, open_table
from backups.keeping.catalogue import Catalogue, Entry
from backups.keys.keyring import Keyring
from backups.stores.store import Store


@dataclass(frozen=True, slots=True)
class Parent:
    """The backup to build on: the table of its image."""

    table: Table

    @property
    def full(self) -> bool:
        """Whether its chain has as many links as a chain may have."""
        return self.table.manifest.chain_length >= MOST_LINKS


def choose(store: Store, catalogue: Catalogue, engine: str, database: Path, keyring: Keyring) -> Parent:
    """The newest good backup of that database whose table this host can read. Raises NoParent, saying why there is none."""
    candidates = [entry for entry in reversed(catalogue.entries) if _fits(entry, engine, database)]
    if not candidates:
        raise NoParent(f"{catalogue.address} holds no good backup of {database} to build on: make a full backup.")
    newest = candidates[0]
    try:
        table, key = open_table(store, catalogue, links_of(catalogue, newest.id), keyring)
    except (Damaged, UsageError) as error:
        raise NoParent(f"{newest.id} cannot be built on: {error} Make a full backup.") from error
    if key != keyring.hash_key:
        raise NoParent(f"{newest.id} was made with another key than the one at hand: make a full backup.")
    return Parent(table)


def _fits(entry: Entry, engine: str, database: Path) -> bool:
    manifest = entry.manifest
    if manifest is None or entry.fault or entry.expired:
        return False
    return manifest.engine == engine and manifest.database == str(database)
