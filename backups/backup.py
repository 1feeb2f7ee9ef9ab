"""Making one backup: read the database once, store what is new in it, and publish the manifest last.

    database --agent--> blocks --hash every unit, compare with the parent--> packs --> index --> manifests/<id>.json
    server that knows what changed --> blocks of that alone --hash every unit--> packs --> index, its list --> the same

Until the manifest has its name there is no backup, whatever lies in the store; from then on there is a whole one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from backups import consolidate, disk, parents
from backups.clock import SYSTEM, Clock, rfc3339
from backups.engine import Engine, Reading
from backups.errors import BackupError, NoParent
from backups.format import manifest as manifests
from backups.format.manifest import FULL, INCREMENTAL, BackupId, LogSpan, Manifest
from backups.format.packs import Writer
from backups.imaging import Pace, store_image
from backups.keeping import catalogue as catalogues
from backups.keeping.catalogue import Catalogue
from backups.keys.keyring import Keyring
from backups.parents import Parent
from backups.progress import Progress, silent
from backups.publishing import boot_id, host, new_id, predecessor, publish, versions
from backups.stores.separation import require_separation
from backups.stores.store import Store

Kind = Literal["auto", "full", "incr"]
LogPosition = tuple[str, int]
"""A generation of shipped log, and the newest segment of it that is durable in the store."""


def run_backup(
    engine: Engine,
    database: str,
    store: Store,
    *,
    kind: Kind = "auto",
    keyring: Keyring | None = None,
    pace: int | None = None,
    log: Callable[[], LogPosition | None] | None = None,
    progress: Progress = silent,
    demonstration: bool = False,
    clock: Clock = SYSTEM,
    free_bytes: disk.FreeBytes = disk.free_bytes,
) -> Manifest:
    """Back the database up, and return the manifest, which is durable in the store by then.

    `auto` stores what changed since the newest good backup of this database, or all of it when there is none; a chain that
    has become too long is put together to a synthetic full backup first. A server that can tell by itself what changed
    reads and sends no more than that; where it cannot, the manifest says why, and units are compared. `pace` limits the
    reading to so many bytes a second. `log` tells how far the shipped log has come; it is asked before the snapshot and
    after it.

    Raises a BackupError when no backup was possible: then no new one is listed, what was half written is removed (by the
    next run, if this process was killed), and every older backup is untouched. NoParent is raised when `incr` was asked for
    and there is nothing to build on. `demonstration` allows a store that shares the database's disk or directory.
    """
    path = engine.path_of(database)
    size_bytes = engine.size_bytes(path)
    for copy in store.copies:
        if copy.local is not None and not demonstration:
            require_separation(path, copy.local)
    purpose = f"backup of {path}"
    with store.exclusive(purpose), engine.undisturbed(path, purpose):
        run = _Run(
            engine, path, store, keyring or Keyring.plain(), Pace(pace), log, progress, clock, size_bytes, free_bytes
        )
        return run.backup(kind)


@dataclass(frozen=True, slots=True)
class _Run:
    engine: Engine
    path: Path
    store: Store
    keyring: Keyring
    pace: Pace
    log: Callable[[], LogPosition | None] | None
    progress: Progress
    clock: Clock
    size_bytes: int
    free_bytes: disk.FreeBytes

    def backup(self, kind: Kind) -> Manifest:
        began, began_t = self.clock.now(), self.clock.monotonic()
        catalogue = catalogues.read(self.store)
        _sweep_unfinished(self.store, catalogue)
        parent = None if kind == FULL else self.parent(catalogue, required=kind == INCREMENTAL)
        if parent is not None and parent.full:
            catalogue, parent = self.consolidated(catalogue, parent)
        self.require_room(parent)
        before = self.log_position()
        with self.engine.snapshot(self.path, base=parent.base if parent else None) as reading:
            why_whole = ""
            if parent is not None and not reading.native:
                why_whole = reading.why_whole or parent.why_units
                parent = self.on_units(catalogue, parent, reading, required=kind == INCREMENTAL)
            written = INCREMENTAL if parent else FULL
            backup_id = new_id(catalogue, began, written, self.engine.kind)
            sealer, envelope = self.keyring.new(backup_id)
            keys = self.keyring.keys_of(envelope)
            with Writer(self.store, backup_id, sealer, keys.index_sealer(backup_id)) as writer:
                table = parent.table if parent else None
                image = store_image(reading, writer, table, keys.hash_key, pace=self.pace, progress=self.progress)
                facts, sent = reading.facts(), reading.sent
                manifest = Manifest(
                    id=backup_id,
                    kind=written,
                    engine=self.engine.kind,
                    database=str(self.path),
                    parent=parent.manifest.id if parent else None,
                    previous=predecessor(catalogue),
                    taken=rfc3339(began + timedelta(seconds=reading.taken_t - began_t)),
                    taken_t=reading.taken_t,
                    seconds=self.clock.monotonic() - began_t,
                    boot=boot_id(),
                    host=host(),
                    unit_bytes=reading.unit_bytes,
                    units=image.units,
                    stored_units=len(image.table.units),
                    root=image.root,
                    chain_length=parent.manifest.chain_length + 1 if parent else 0,
                    packs=image.packs,
                    index=image.index,
                    codec=manifests.CODEC,
                    facts=facts,
                    versions=versions(self.engine.kind, facts),
                    log=self.span_since(before),
                    server=sent.state if sent else None,
                    native=reading.native,
                    whole_bytes=sent.whole_bytes if sent and reading.native else 0,
                    why_whole=why_whole,
                    listing=writer.list(sent.listing) if sent else None,
                    envelope=envelope,
                )
                return publish(self.store, manifest, keys, writer)

    def parent(self, catalogue: Catalogue, *, required: bool) -> Parent | None:
        """What to build on, None when there is nothing; raises NoParent, with the reason, when there has to be."""
        try:
            return parents.choose(self.store, catalogue, self.engine.kind, self.path, self.keyring)
        except NoParent:
            if required:
                raise
            return None

    def consolidated(self, catalogue: Catalogue, parent: Parent) -> tuple[Catalogue, Parent | None]:
        """A new chain to build on, put together from the full-grown one; none when that cannot be read from here."""
        try:
            consolidate.consolidate_locked(
                self.engine,
                self.store,
                catalogue,
                parent.manifest.id,
                self.keyring,
                self.progress,
                self.clock,
                self.free_bytes,
            )
        except BackupError:
            # Damaged, or no identity at hand: the database itself is the better source then.
            return catalogue, None
        catalogue = catalogues.read(self.store)
        return catalogue, self.parent(catalogue, required=False)

    def on_units(self, catalogue: Catalogue, parent: Parent, reading: Reading, *, required: bool) -> Parent | None:
        """The backup on whose units the whole image that is being read can build; None when there is none, as `parent`."""
        try:
            if parent.table is None:
                parent = parents.choose_image(self.store, catalogue, self.engine.kind, self.path, self.keyring)
            if parent.manifest.unit_bytes != reading.unit_bytes:
                raise NoParent(
                    f"The page size of {self.path} is no longer that of {parent.manifest.id}: make a full backup."
                )
            if parent.full:
                raise NoParent(f"The chain of {parent.manifest.id} is as long as one may be: make a full backup.")
        except NoParent:
            if required:
                raise
            return None
        return parent

    def require_room(self, parent: Parent | None) -> None:
        """Half the size for a full backup: most databases compress better, and running full is survived."""
        need_bytes = self.size_bytes // (16 if parent else 2)
        for copy in self.store.copies:
            if copy.local is not None:
                disk.require_room(copy.local, need_bytes, f"a backup of {self.path}", self.free_bytes)

    def log_position(self) -> LogPosition | None:
        return self.log() if self.log else None

    def span_since(self, before: LogPosition | None) -> LogSpan | None:
        """Where the backup lies in the shipped log; nowhere, when a new generation began meanwhile."""
        if before is None:
            return None
        try:
            after = self.log_position()
        except BackupError:
            after = None
        if after is not None and after[0] != before[0]:
            return None
        return LogSpan(before[0], before[1], after[1] if after else None)


def _sweep_unfinished(store: Store, catalogue: Catalogue) -> None:
    """Delete the objects of a run that was killed before its manifest.

    Such a run had the sequence that is now the next one. Objects of lower sequences without a manifest are left alone: their
    manifest was there once, and losing it is no reason to destroy the rest.
    """
    newest = catalogue.newest.sequence if catalogue.newest else 0
    for staged in catalogue.staging:
        owner = BackupId.read(staged)
        if owner is not None and owner.sequence > newest:
            for stored in store.list(f"objects/{staged}/"):
                store.delete(stored.name)
