"""Giving a backup its name: what all kinds of backups do alike, and do last."""

from __future__ import annotations

import platform
import secrets
import socket
from datetime import datetime
from pathlib import Path

from backups.errors import BackupError
from backups.format import manifest as manifests
from backups.format.facts import Facts
from backups.format.manifest import BackupId, Manifest, Predecessor
from backups.format.packs import Writer
from backups.keeping.catalogue import Catalogue
from backups.keys.keyring import HostKeys
from backups.stores.store import Store

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def publish(store: Store, manifest: Manifest, keys: HostKeys, writer: Writer) -> Manifest:
    """Publish the manifest, signed: the one moment from which the backup exists. Its packs stay from then on."""
    manifest = manifests.signed(manifest, keys.mac)
    name = manifests.name_of(manifest.id)
    try:
        store.create(name, (manifests.encode(manifest),))
    except BaseException:
        if _may_exist(store, name):
            writer.keep()  # Interrupted after it was done, or a store that cannot say: never a manifest without packs.
        raise
    writer.keep()
    return manifest


def new_id(catalogue: Catalogue, began: datetime, kind: str, engine: str) -> str:
    """An id of the next sequence."""
    sequence = 1 + (catalogue.newest.sequence if catalogue.newest else 0)
    return str(BackupId.new(began, sequence, kind, engine, secrets.token_hex(2)))


def predecessor(catalogue: Catalogue) -> Predecessor | None:
    """The backup before the next one, as its manifest will remember it."""
    newest = catalogue.newest
    if newest is None or newest.fingerprint is None:
        return None
    return Predecessor(newest.id, newest.fingerprint)


def boot_id() -> str:
    """What tells this boot of this machine from every other; monotonic seconds compare only within one."""
    return _BOOT_ID.read_text().strip()


def host() -> str:
    return socket.gethostname()


def versions(engine: str, facts: Facts) -> dict[str, str]:
    return {"python": platform.python_version(), engine: facts.engine_version}


def _may_exist(store: Store, name: str) -> bool:
    try:
        return store.size(name) is not None
    except BackupError:
        return True
