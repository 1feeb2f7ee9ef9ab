"""Which backup the next incremental one builds on, and how: on the units of an image, or on what its server sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backups.engine import Base
from backups.errors import Damaged, NoParent, UsageError
from backups.format import packs
from backups.format.chain import MOST_LINKS, Table
from backups.format.manifest import Manifest
from backups.format.stored_chain import links_of, open_table, require_authentic
from backups.keeping.catalogue import Catalogue, Entry
from backups.keys.keyring import Keyring
from backups.stores.store import Store


@dataclass(frozen=True, slots=True)
class Parent:
    """The backup to build on: its base for its server's own increment, or the table of its image; exactly one of them.

    `why_units` says why there is no base though there should be one.
    """

    manifest: Manifest
    base: Base | None = None
    table: Table | None = None
    why_units: str = ""

    @property
    def full(self) -> bool:
        """Whether its chain has as many links as a chain may have."""
        return self.manifest.chain_length >= MOST_LINKS


def choose(store: Store, catalogue: Catalogue, engine: str, database: Path, keyring: Keyring) -> Parent:
    """The newest good backup of that database that this host can build on. Raises NoParent, saying why there is none.

    Where its server left a list of what it sent, that is the base, and no table is read: the list alone is small.
    """
    candidates = _candidates(catalogue, engine, database)
    newest = candidates[0]
    why = ""
    if newest.listing is not None:
        try:
            return Parent(newest, base=_base(store, catalogue, newest, keyring))
        except (Damaged, UsageError, NoParent) as error:
            why = str(error)
    return _on_image(store, catalogue, candidates, keyring, why)


def choose_image(store: Store, catalogue: Catalogue, engine: str, database: Path, keyring: Keyring) -> Parent:
    """The newest good backup whose image is whole, native increments left aside, by its table. Raises NoParent."""
    return _on_image(store, catalogue, _candidates(catalogue, engine, database), keyring)


def _on_image(
    store: Store, catalogue: Catalogue, candidates: Sequence[Manifest], keyring: Keyring, why_units: str = ""
) -> Parent:
    newest = next((manifest for manifest in candidates if not manifest.native), None)
    if newest is None:
        raise NoParent(f"{candidates[0].id} cannot be built on: no backup below it is whole. Make a full backup.")
    try:
        table, key = open_table(store, catalogue, links_of(catalogue, newest.id), keyring)
    except (Damaged, UsageError) as error:
        raise NoParent(f"{newest.id} cannot be built on: {error} Make a full backup.") from error
    _require_ours(newest, key, keyring)
    return Parent(newest, table=table, why_units=why_units)


def _base(store: Store, catalogue: Catalogue, newest: Manifest, keyring: Keyring) -> Base:
    assert newest.server is not None, "only a server leaves a list"
    for manifest in links_of(catalogue, newest.id):
        keys = keyring.keys_of(manifest.envelope, others=catalogue.envelopes)
        require_authentic(catalogue, manifest, keys)
        _require_ours(manifest, keys.hash_key, keyring)
    return Base(newest.id, newest.server, packs.read_listing(store, newest, keys.index_sealer(newest.id)))


def _require_ours(manifest: Manifest, key: bytes, keyring: Keyring) -> None:
    if key != keyring.hash_key:
        raise NoParent(f"{manifest.id} was made with another key than the one at hand: make a full backup.")


def _candidates(catalogue: Catalogue, engine: str, database: Path) -> Sequence[Manifest]:
    """The good backups of that database, newest first. Raises NoParent when there is none."""
    found = [entry.manifest for entry in reversed(catalogue.entries) if _fits(entry, engine, database)]
    if not found:
        raise NoParent(f"{catalogue.address} holds no good backup of {database} to build on: make a full backup.")
    return [manifest for manifest in found if manifest is not None]


def _fits(entry: Entry, engine: str, database: Path) -> bool:
    manifest = entry.manifest
    if manifest is None or entry.fault or entry.expired:
        return False
    return manifest.engine == engine and manifest.database == str(database)
