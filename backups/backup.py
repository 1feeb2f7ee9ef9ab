"""Making one backup: snapshot, pack, publish, and the manifest last.

    database --agent--> scratch file --zstd, BLAKE3--> objects/<id>/...  then  manifests/<id>.json

Until the manifest has its name there is no backup, whatever lies in the store; from then on there is a whole one.
"""

from __future__ import annotations

import platform
import secrets
import socket
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from backups import catalogue as catalogues
from backups import disk, packing
from backups import manifest as manifests
from backups.catalogue import Catalogue
from backups.clock import SYSTEM, Clock, rfc3339
from backups.engine import Engine
from backups.manifest import BackupId, Manifest, Predecessor
from backups.progress import Progress, silent
from backups.separation import require_separation
from backups.store import Store

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def run_backup(
    engine: Engine,
    database: str,
    store: Store,
    *,
    progress: Progress = silent,
    demonstration: bool = False,
    clock: Clock = SYSTEM,
    free_bytes: disk.FreeBytes = disk.free_bytes,
) -> Manifest:
    """Back the database up, and return the manifest, which is durable in the store by then.

    Raises a BackupError when that was not possible: then no new backup is listed, what was half written is removed (by the
    next run, if this process was killed), and every older backup is untouched. `demonstration` allows a store that shares
    the database's disk or directory.
    """
    path = engine.path_of(database)
    size_bytes = engine.size_bytes(path)
    if store.local is not None and not demonstration:
        require_separation(path, store.local)
    with store.exclusive(f"backup of {path}"), store.scratch("snapshot") as scratch, ExitStack() as undo:
        began, began_t = clock.now(), clock.monotonic()
        catalogue = catalogues.read(store)
        sequence = 1 + (catalogue.newest.sequence if catalogue.newest else 0)
        _sweep_unfinished(store, sequence)
        # The copy, and as much again at half the size: most databases compress better, and running full is survived.
        disk.require_room(scratch, size_bytes + size_bytes // 2, f"a backup of {path}", free_bytes)
        copy = scratch / "database"
        snapshot = engine.snapshot(path, copy, progress)
        backup_id = str(BackupId.new(began, sequence, "full", engine.kind, secrets.token_hex(2)))
        file_name = f"objects/{backup_id}/database.zst"
        packed = packing.pack(store, copy, file_name, progress)
        undo.callback(store.delete, file_name)
        manifest = Manifest(
            id=backup_id,
            kind="full",
            engine=engine.kind,
            database=str(path),
            parent=None,
            previous=_predecessor(catalogue),
            taken=rfc3339(began + timedelta(seconds=snapshot.taken_t - began_t)),
            taken_t=snapshot.taken_t,
            seconds=clock.monotonic() - began_t,
            boot=_BOOT_ID.read_text().strip(),
            host=socket.gethostname(),
            files=(packed,),
            facts=snapshot.facts,
            versions={"python": platform.python_version(), engine.kind: snapshot.facts.engine_version},
        )
        store.create(manifests.name_of(backup_id), (manifests.encode(manifest),))
        undo.pop_all()
    return manifest


def _predecessor(catalogue: Catalogue) -> Predecessor | None:
    newest = catalogue.newest
    if newest is None or newest.fingerprint is None:
        return None
    return Predecessor(newest.id, newest.fingerprint)


def _sweep_unfinished(store: Store, next_sequence: int) -> None:
    """Delete the objects of a run that was killed before its manifest.

    Such a run had the sequence that is now the next one. Objects of lower sequences without a manifest are left alone: their
    manifest was there once, and losing it is no reason to destroy the rest.
    """
    for stored in store.list("objects/"):
        owner = BackupId.read(stored.name.split("/")[1])
        if owner is not None and owner.sequence >= next_sequence:
            store.delete(stored.name)
