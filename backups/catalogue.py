"""Which backups exist, which are complete, and which are known to be good or bad: read from the store alone, every time.

Objects without a manifest are not backups. A manifest that cannot be read is one all the same: a bad one, listed with the
reason, so that nobody mistakes its absence for health.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from backups import manifest as manifests
from backups import store as stores
from backups import verification as verifications
from backups.clock import parse
from backups.errors import Damaged, NoSuchBackup, StoreError
from backups.manifest import BackupId, Manifest
from backups.store import Store, StoredObject
from backups.verification import Verification


@dataclass(frozen=True, slots=True)
class Entry:
    """One backup as the store shows it: its manifest if that can be read, and the looks taken at it, oldest first.

    `flaw` is what is wrong with it as it lies there, empty when nothing is; `fingerprint` is the hash of its manifest.
    """

    id: str
    sequence: int
    fingerprint: str | None = None
    manifest: Manifest | None = None
    flaw: str = ""
    verifications: tuple[Verification, ...] = ()

    @property
    def fault(self) -> str:
        """Why it cannot be used: its flaw, or what the latest look at it found; empty when nothing speaks against it."""
        if self.flaw or not self.verifications or self.verifications[-1].ok:
            return self.flaw
        look = self.verifications[-1]
        return f"It failed its verification of {look.at}: {' '.join(look.findings)}"

    @property
    def state(self) -> str:
        """`bad`, `verified` (the latest look at it found nothing) or `complete` (not looked at)."""
        if self.fault:
            return "bad"
        return "verified" if self.verifications else "complete"

    @property
    def taken(self) -> datetime:
        """The instant it shows; when its manifest is unreadable, the instant that its name tells."""
        if self.manifest is not None:
            return parse(self.manifest.taken)
        backup_id = BackupId.read(self.id)
        assert backup_id is not None
        return backup_id.began_at


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All backups of a store, oldest first by sequence; the clock has no say in the order."""

    address: str
    entries: tuple[Entry, ...]

    @property
    def newest(self) -> Entry | None:
        """The one of the highest sequence, good or bad."""
        return self.entries[-1] if self.entries else None

    def find(self, backup_id: str) -> Entry:
        """The backup of that id. Raises NoSuchBackup."""
        for entry in self.entries:
            if entry.id == backup_id:
                return entry
        raise NoSuchBackup(f"There is no backup {backup_id} in {self.address}; list them with: gymkhana backup list.")


def read(store: Store) -> Catalogue:
    """The catalogue as it is now. Raises StoreError when the store cannot be listed; one bad backup never does."""
    listed = store.list(manifests.PREFIX)
    sizes = {stored.name: stored.size_bytes for stored in store.list("objects/")}
    records = _records(store, listed)
    entries = [
        _entry(store, backup_id, sizes, records.get(str(backup_id), ()))
        for stored in listed
        if (backup_id := manifests.id_in(stored.name))
    ]
    entries.sort(key=lambda entry: (entry.sequence, entry.id))
    return Catalogue(store.address, tuple(_with_broken_links(entries)))


def _entry(store: Store, backup_id: BackupId, sizes: dict[str, int], looks: tuple[Verification, ...]) -> Entry:
    entry = Entry(str(backup_id), backup_id.sequence, verifications=looks)
    try:
        content = stores.read(store, manifests.name_of(entry.id))
    except StoreError as error:
        return replace(entry, flaw=f"Its manifest cannot be read: {error}")
    entry = replace(entry, fingerprint=manifests.fingerprint(content))
    try:
        manifest = manifests.decode(entry.id, content)
    except Damaged as error:
        return replace(entry, flaw=str(error))
    return replace(entry, manifest=manifest, flaw=_incomplete(manifest, sizes))


def _incomplete(manifest: Manifest, sizes: dict[str, int]) -> str:
    for file in manifest.files:
        if file.name not in sizes:
            return f"Its object {file.name} is missing."
        if sizes[file.name] != file.stored_bytes:
            return f"Its object {file.name} has {sizes[file.name]} bytes, and {file.stored_bytes} were stored."
    return ""


def _with_broken_links(entries: list[Entry]) -> Iterator[Entry]:
    """The entries, those whose successor remembers another manifest marked as exchanged."""
    remembered = {
        entry.manifest.previous.id: entry.manifest.previous.blake3
        for entry in entries
        if entry.manifest and entry.manifest.previous
    }
    for entry in entries:
        wanted = remembered.get(entry.id, entry.fingerprint)
        if not entry.flaw and wanted != entry.fingerprint:
            yield replace(entry, flaw="Its manifest is not the one that the backup after it recorded.")
        else:
            yield entry


def _records(store: Store, listed: tuple[StoredObject, ...]) -> dict[str, tuple[Verification, ...]]:
    """The readable verification records of each backup, oldest first."""
    records: dict[str, list[Verification]] = {}
    for stored in sorted(listed, key=lambda stored: verifications.number_in(stored.name)):
        backup = verifications.backup_in(stored.name)
        if backup is None:
            continue
        record = _record(store, stored.name)
        if record is not None and record.backup == backup:
            records.setdefault(backup, []).append(record)
    return {backup: tuple(found) for backup, found in records.items()}


def _record(store: Store, name: str) -> Verification | None:
    """The record, or None: one that cannot be read proves nothing, and a restore checks everything again anyway."""
    try:
        return verifications.decode(stores.read(store, name))
    except (StoreError, Damaged):
        return None
