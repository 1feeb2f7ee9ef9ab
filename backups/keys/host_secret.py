"""What a host keeps for itself: one secret, from which come the keys that hash pages and authenticate manifests.

The secret opens no backup: data keys are wrapped to recipients alone. Whoever steals it can forge a manifest and recognise a
page that he has already. It is in every envelope too, so that a machine with an identity needs nothing of the old host.
"""

from __future__ import annotations

import errno
import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from blake3 import blake3

from backups import disk
from backups.errors import KeyMissing, KeyUnusable
from backups.keys.sealing import KEY_BYTES, PLAIN, DataKeySealer, Sealer
from backups.keys.secret import Secret

_HEAD: Final = "gymkhana-host-secret-1:"
_PLAIN_HASH_KEY: Final = blake3(b"gymkhana unit hash v1").digest()


class HostKeys:
    """The keys that come out of one host's secret; without a secret, those of a host that seals nothing.

    `host` tells hosts apart and may be shown; it is empty without a secret.
    """

    __slots__ = ("_index_key", "_mac_key", "_unit_key", "host")

    def __init__(self, secret: Secret | None) -> None:
        self._unit_key = _derived(secret, "unit hash") if secret else Secret(_PLAIN_HASH_KEY)
        self._mac_key = _derived(secret, "manifest mac") if secret else None
        self._index_key = _derived(secret, "index") if secret else None
        self.host = _derived(secret, "host name").reveal()[:8].hex() if secret else ""

    @property
    def hash_key(self) -> bytes:
        """The key of the unit hashes: 32 bytes."""
        return self._unit_key.reveal()

    def mac(self, content: bytes) -> str:
        """What authenticates these bytes, as 64 hex digits; empty without a secret."""
        return blake3(content, key=self._mac_key.reveal()).hexdigest() if self._mac_key else ""

    def authentic(self, content: bytes, mac: str) -> bool:
        """Whether `mac` is that of these bytes."""
        return hmac.compare_digest(self.mac(content).encode(), mac.encode())

    def index_sealer(self, backup_id: str) -> Sealer:
        """Seals the table of a backup's unit hashes, which its own host must read again to see what changed since."""
        if self._index_key is None:
            return PLAIN
        key = blake3(backup_id.encode(), key=self._index_key.reveal()).digest()
        return DataKeySealer(f"host-{self.host}", Secret(key))

    def __repr__(self) -> str:
        return f"<keys of the host {self.host or 'that seals nothing'}>"


def read(path: Path, *, make: bool) -> Secret:
    """The secret in this file; `make` writes a new one, for this user alone, when there is none.

    Raises KeyMissing when there is none and none is to be made, KeyUnusable when others may read it or it holds anything
    else: a secret made anew in its place would disown every older backup.
    """
    while True:
        try:
            return _read(path)
        except FileNotFoundError:
            if not make:
                raise KeyMissing(f"There is no host secret {path}; name the file that holds it.") from None
        with disk.plainly(f"making the host secret {path}"):
            _make(path)


def _read(path: Path) -> Secret:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise KeyUnusable(
                    f"The host secret {path} may be read by others than its owner (mode {stat.S_IMODE(mode):04o}): run "
                    "chmod 600 on it, and make a new one if others were on this machine."
                )
            secret = _parsed(file.read(1 << 10))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyUnusable(f"The host secret {path} cannot be read: {error.strerror}.") from None
    if secret is None:
        raise KeyUnusable(f"{path} holds no host secret: put back the file that was there, or name another.")
    return secret


def _parsed(content: bytes) -> Secret | None:
    head, digits = content[: len(_HEAD)], content[len(_HEAD) :].strip()
    if head != _HEAD.encode() or len(digits) != 2 * KEY_BYTES:
        return None
    try:
        return Secret(bytes.fromhex(digits.decode()))
    except ValueError:
        return None


def _make(path: Path) -> None:
    """Write a new secret to `path`, durably, unless somebody else has just done so."""
    disk.make_directories(path.parent)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(f"{_HEAD}{secrets.token_hex(KEY_BYTES)}\n".encode())
            disk.sync(file)
        os.link(beside, path)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise
    finally:
        beside.unlink()
    disk.sync_directory(path.parent)


def _derived(secret: Secret, purpose: str) -> Secret:
    return Secret(blake3(secret.reveal(), derive_key_context=f"gymkhana 2026 {purpose} v1").digest())
