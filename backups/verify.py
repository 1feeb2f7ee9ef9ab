"""Proving one backup: read every byte of it, restore it to a scratch place, and compare what is there with its manifest."""

from __future__ import annotations

import socket

from backups import catalogue as catalogues
from backups import disk, verification
from backups.addresses import engine_named
from backups.build import build
from backups.catalogue import Entry
from backups.clock import SYSTEM, Clock, rfc3339
from backups.errors import Damaged, NoSuchBackup, UsageError
from backups.progress import Progress, silent
from backups.store import Store
from backups.verification import Verification


def verify(
    store: Store,
    backup_id: str | None = None,
    *,
    progress: Progress = silent,
    clock: Clock = SYSTEM,
    free_bytes: disk.FreeBytes = disk.free_bytes,
) -> Verification:
    """Verify that backup, or the newest, and append the outcome to the store.

    A bad backup is an answer, not an error: `ok` is False and `findings` say why. Raises NoSuchBackup, or NoSpace when
    there is no room to restore it for a look.
    """
    entry = _wanted(store, backup_id)
    began_t = clock.monotonic()
    findings: tuple[str, ...]
    try:
        findings = _findings(store, entry, progress, free_bytes)
    except Damaged as error:
        findings = (str(error),)
    outcome = Verification(
        backup=entry.id,
        ok=not findings,
        findings=findings,
        at=rfc3339(clock.now()),
        seconds=clock.monotonic() - began_t,
        read_bytes=entry.manifest.stored_bytes if entry.manifest else 0,
        host=socket.gethostname(),
    )
    verification.append(store, outcome)
    return outcome


def _wanted(store: Store, backup_id: str | None) -> Entry:
    catalogue = catalogues.read(store)
    if backup_id is not None:
        return catalogue.find(backup_id)
    if catalogue.newest is None:
        raise NoSuchBackup(f"{store.address} holds no backup yet; make one with: gymkhana backup run.")
    return catalogue.newest


def _findings(store: Store, entry: Entry, progress: Progress, free_bytes: disk.FreeBytes) -> tuple[str, ...]:
    manifest = entry.manifest
    if manifest is None or entry.flaw:
        return (entry.flaw,)
    try:
        engine = engine_named(manifest.engine)
    except UsageError as error:
        return (str(error),)
    with store.scratch("verify") as scratch:
        disk.require_room(scratch, manifest.size_bytes, f"a look at {entry.id}", free_bytes)
        copy = scratch / "database"
        build(store, manifest, copy, progress)
        return engine.check(copy, manifest.facts, deep=True, progress=progress)
