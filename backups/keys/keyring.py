"""Who can open a backup: every backup has a data key of its own, wrapped to age recipients and kept nowhere else.

    chunks --AES-256-GCM, data key--> packs            data key + host secret --age--> envelope, in the manifest

The host that makes backups holds the recipients, which are public, and its host secret: it can go on making increments, and
cannot read what it has stored. A machine that holds one identity needs nothing else: both kinds of key come out of the
envelope (`envelope.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from backups.errors import BackupError, KeyMissing, KeyRotated, KeyUnusable, WrongKey
from backups.keys import envelope as envelopes
from backups.keys import host_secret as host_secrets
from backups.keys.age import Identity, checked_recipient, generate, read_identities, read_recipients
from backups.keys.envelope import Envelope, Keys
from backups.keys.host_secret import HostKeys
from backups.keys.sealing import KEY_BYTES, PLAIN, Sealer
from backups.keys.secret import Secret

__all__ = ["Envelope", "HostKeys", "Keyring", "Opened", "generate", "read_identities", "read_recipients", "rewrap"]


@dataclass(frozen=True, slots=True)
class Opened:
    """What an envelope gave: the sealer of its backup, and the keys of the host that made it."""

    sealer: Sealer
    keys: HostKeys


@dataclass(frozen=True)
class Keyring:
    """The keys at hand: recipients for new backups, identity files for old ones, and the file of this host's secret.

    The files are read when they are first needed. A keyring without recipients seals nothing new, and opens what it can.
    Raises KeyUnusable for a recipient that is none, or for recipients without a host secret.
    """

    recipients: tuple[str, ...] = ()
    identities: tuple[Path, ...] = ()
    host_secret: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipients", _checked(self.recipients))
        if self.recipients and self.host_secret is None:
            raise KeyUnusable("Recipients are given and no host secret is: name the file to keep it in.")

    @classmethod
    def plain(cls) -> Keyring:
        """The keyring of those who seal nothing."""
        return cls()

    @property
    def hash_key(self) -> bytes:
        """The key of the unit hashes in *new* backups; for those in an existing one ask `keys_of`."""
        return self._own.hash_key

    def mac(self, content: bytes) -> str:
        """What authenticates the manifest of a *new* backup, empty when nothing is sealed; else ask `keys_of`."""
        return self._own.mac(content)

    def new(self, backup_id: str) -> tuple[Sealer, Envelope | None]:
        """A sealer with a new data key, and the envelope to publish. This process forgets the key with the sealer."""
        if not self.recipients:
            return PLAIN, None
        keys = Keys(backup_id, Secret(os.urandom(KEY_BYTES)), self._secret)
        return keys.sealer, envelopes.close(keys, self.recipients)

    def open(self, envelope: Envelope | None, *, others: Iterable[Envelope] = ()) -> Sealer:
        """The sealer of an existing backup; without an envelope, the plain one. See `opened`."""
        return self.opened(envelope, others=others).sealer

    def opened(self, envelope: Envelope | None, *, others: Iterable[Envelope] = ()) -> Opened:
        """Everything that the envelope gives, its canary tried.

        `others` are envelopes found beside it: those of the same `key_id` were wrapped again for rotated keys and serve as
        well; those of other backups tell a rotated key from a wrong one. Raises KeyMissing, WrongKey or KeyRotated, which
        speak of the keys at hand, or Damaged, which speaks of the backup.
        """
        if envelope is None:
            return Opened(PLAIN, HostKeys(None))
        keys = self.inside(envelope, others=others)
        return Opened(keys.sealer, HostKeys(keys.host_secret))

    def keys_of(self, envelope: Envelope | None, *, others: Iterable[Envelope] = ()) -> HostKeys:
        """The keys of the host that made that backup: hash, MAC, index. Its own need no identity; else see `opened`."""
        if envelope is None:
            return HostKeys(None)
        if self.host_secret is not None and self.host_secret.exists() and self._host.host == envelope.host:
            return self._host
        return self.opened(envelope, others=others).keys

    def prove(self, envelope: Envelope | None, *, others: Iterable[Envelope] = ()) -> str:
        """Why the identities at hand do not open it, in one sentence; empty when they do, canary included."""
        try:
            self.opened(envelope, others=others)
        except BackupError as error:
            return str(error)
        return ""

    def inside(self, envelope: Envelope, *, others: Iterable[Envelope] = ()) -> Keys:
        """The bare keys in the envelope, for whoever wraps them again. See `opened`."""
        if not self.identities:
            raise KeyMissing(f"{_sealed_to(envelope)}, and no identity is given: name its file with --identity.")
        others, held = tuple(others), read_identities(self.identities)
        keys = envelopes.open_first(envelope, (other for other in others if other.key_id == envelope.key_id), held)
        if keys is None:
            raise self._refusal(envelope, held, others)
        return keys

    @cached_property
    def _secret(self) -> Secret:
        assert self.host_secret is not None, "asked for only where there is one"
        return host_secrets.read(self.host_secret, make=bool(self.recipients))

    @cached_property
    def _host(self) -> HostKeys:
        return HostKeys(self._secret)

    @property
    def _own(self) -> HostKeys:
        return self._host if self.recipients else HostKeys(None)

    def _refusal(self, envelope: Envelope, held: Sequence[Identity], others: Sequence[Envelope]) -> BackupError:
        elsewhere = set(self.recipients).union(*(other.recipients for other in others))
        at_hand = list(dict.fromkeys(identity.recipient for identity in held))
        if elsewhere.intersection(at_hand):
            return KeyRotated(
                f"{_sealed_to(envelope)}, and the identity at hand is that of {', '.join(at_hand)}, to which other backups "
                "are sealed: keys were rotated in between, so name the file of the other identity with --identity."
            )
        return WrongKey(
            f"{_sealed_to(envelope)}, and the identity at hand is that of {', '.join(at_hand)}: name the file of the "
            "right identity with --identity."
        )


def rewrap(envelope: Envelope, identities: Iterable[Path], recipients: Sequence[str]) -> Envelope:
    """The same keys in an envelope for these recipients, opened with these identities. Raises what `Keyring.opened` does.

    The old envelope still opens for whoever has it: taking a recipient away protects new backups, not old ones.
    """
    wanted = _checked(recipients)
    if not wanted:
        raise KeyUnusable(f"No recipient is given to wrap the key {envelope.key_id} for; give at least one.")
    return envelopes.close(Keyring(identities=tuple(identities)).inside(envelope), wanted)


def _checked(recipients: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(checked_recipient(recipient) for recipient in recipients))


def _sealed_to(envelope: Envelope) -> str:
    return f"The backup's key {envelope.key_id} is sealed to {', '.join(envelope.recipients)}"
