"""Which backups exist, which are complete, and which are known to be good or bad: read from the store alone, every time.

Objects without a manifest are not backups. A manifest that cannot be read is one all the same: a suspect one, listed with
the reason, so that nobody mistakes its absence for health. A backup is no better than the ones it builds on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from backups.clock import parse
from backups.errors import Damaged, NoSuchBackup, StoreError
from backups.format import manifest as manifests
from backups.format import marks
from backups.format import verification as verifications
from backups.format.manifest import BackupId, Manifest
from backups.format.verification import Verification
from backups.keys.keyring import Envelope
from backups.stores import store as stores
from backups.stores.store import Store, StoredObject


@dataclass(frozen=True, slots=True)
class Entry:
    """One backup as the store shows it: its manifest if that can be read, and the looks taken at it, oldest first.

    `flaw` is what is wrong with it as it lies there, `chain_fault` what is wrong with a backup it builds on; empty when
    nothing is. `content` are the bytes of its manifest, and `fingerprint` is their hash. A pinned backup is to be kept,
    an expired one is about to be deleted.
    """

    id: str
    sequence: int
    fingerprint: str | None = None
    manifest: Manifest | None = None
    flaw: str = ""
    verifications: tuple[Verification, ...] = ()
    chain_fault: str = ""
    pinned: bool = False
    expired: bool = False
    content: bytes = field(default=b"", repr=False)

    @property
    def kind(self) -> str:
        """`full` or `incr`, as its name tells."""
        backup_id = BackupId.read(self.id)
        assert backup_id is not None
        return backup_id.kind

    @property
    def parent(self) -> str | None:
        """The backup that it builds on; None for a full one, and for one whose manifest is unreadable."""
        return self.manifest.parent if self.manifest else None

    @property
    def seconds(self) -> float | None:
        """How long the run took that made it."""
        return self.manifest.seconds if self.manifest else None

    @property
    def engine(self) -> str | None:
        """The kind of database that it is of."""
        return self.manifest.engine if self.manifest else None

    @property
    def database(self) -> str | None:
        """Where the database was."""
        return self.manifest.database if self.manifest else None

    @property
    def size_bytes(self) -> int | None:
        """How large the database was."""
        return self.manifest.size_bytes if self.manifest else None

    @property
    def stored_bytes(self) -> int | None:
        """What it takes in the store, without those it builds on."""
        return self.manifest.stored_bytes if self.manifest else None

    @property
    def fault(self) -> str:
        """Why it cannot be used: its own fault, or that of its chain; empty when nothing speaks against it."""
        return self.own_fault or self.chain_fault

    @property
    def own_fault(self) -> str:
        """Its flaw, or what a look at it found and no look as thorough has found mended since."""
        if self.flaw:
            return self.flaw
        look = verifications.standing_refusal(self.verifications)
        return f"It failed its verification of {look.at}: {' '.join(look.findings)}" if look else ""

    @property
    def level(self) -> int:
        """The most thorough look that found it good, -1 when there was none; meaningless for a suspect one."""
        return max((look.level for look in self.verifications if look.ok), default=-1)

    @property
    def state(self) -> str:
        """`suspect`, `expired`, `rehearsed` (a service ran on it), `verified` (every byte was read) or `complete`."""
        if self.fault:
            return "suspect"
        if self.expired:
            return "expired"
        if self.level >= verifications.REHEARSED:
            return "rehearsed"
        return "verified" if self.level >= verifications.VERIFIED else "complete"

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
    """All backups of a store, oldest first by sequence; the clock has no say in the order.

    `staging` are the ids under which objects lie without a manifest: a run under way, or what a killed one left.
    """

    address: str
    entries: tuple[Entry, ...]
    staging: tuple[str, ...] = ()

    @property
    def newest(self) -> Entry | None:
        """The one of the highest sequence, good or bad."""
        return self.entries[-1] if self.entries else None

    @property
    def envelopes(self) -> tuple[Envelope, ...]:
        """The envelopes of all backups, by which a rotated key is told from a wrong one."""
        return tuple(entry.manifest.envelope for entry in self.entries if entry.manifest and entry.manifest.envelope)

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
    pinned, expired = marks.pinned(store, listed), marks.expired(listed)
    entries = [
        replace(
            _entry(store, backup_id, sizes, records.get(str(backup_id), ())),
            pinned=str(backup_id) in pinned,
            expired=str(backup_id) in expired,
        )
        for stored in listed
        if (backup_id := manifests.id_in(stored.name))
    ]
    entries.sort(key=lambda entry: (entry.sequence, entry.id))
    linked = with_chain_faults(_with_broken_links(entries))
    return Catalogue(store.address, linked, _staging(sizes, linked))


def with_chain_faults(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The entries, those marked whose parent is missing or not good. A parent always comes before its children."""
    judged: dict[str, Entry] = {}
    for entry in entries:
        judged[entry.id] = replace(entry, chain_fault=_chain_fault(entry, judged))
    return tuple(judged.values())


def _chain_fault(entry: Entry, before: Mapping[str, Entry]) -> str:
    if entry.parent is None:
        return ""
    parent = before.get(entry.parent)
    if parent is None:
        return f"Its parent {entry.parent} is missing."
    if parent.chain_fault:
        return parent.chain_fault.replace("Its parent ", "Its ancestor ", 1)
    return f"Its parent {parent.id} is not good: {parent.own_fault}" if parent.own_fault else ""


def _entry(store: Store, backup_id: BackupId, sizes: dict[str, int], looks: tuple[Verification, ...]) -> Entry:
    """The backup by the first copy of its manifest that can be read; of several bad ones, the first speaks."""
    entries = (_entry_of(copy, backup_id, sizes, looks) for copy in store.copies)
    first = next(entries)
    return first if first.manifest else next((entry for entry in entries if entry.manifest), first)


def _entry_of(store: Store, backup_id: BackupId, sizes: dict[str, int], looks: tuple[Verification, ...]) -> Entry:
    entry = Entry(str(backup_id), backup_id.sequence, verifications=looks)
    try:
        content = stores.read(store, manifests.name_of(entry.id))
    except StoreError as error:
        return replace(entry, flaw=f"Its manifest cannot be read: {error}")
    entry = replace(entry, fingerprint=manifests.fingerprint(content), content=content)
    try:
        manifest = manifests.decode(entry.id, content)
    except Damaged as error:
        return replace(entry, flaw=str(error))
    return replace(entry, manifest=manifest, flaw=_incomplete(manifest, sizes))


def _incomplete(manifest: Manifest, sizes: dict[str, int]) -> str:
    for stored in manifest.objects:
        if stored.name not in sizes:
            return f"Its object {stored.name} is missing."
        if sizes[stored.name] != stored.stored_bytes:
            return f"Its object {stored.name} has {sizes[stored.name]} bytes, and {stored.stored_bytes} were stored."
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


def _staging(sizes: Mapping[str, int], entries: Iterable[Entry]) -> tuple[str, ...]:
    published = {entry.id for entry in entries}
    owners = {name.split("/")[1] for name in sizes}
    return tuple(sorted(owner for owner in owners - published if BackupId.read(owner) is not None))


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
