"""The wrapped keys of one backup: its data key and its host's secret, in one age file, with a canary to try them on.

What is wrapped is JSON, so that `base64 --decode | age --decrypt --identity FILE` shows it without our code:

    {"backup": "<id>", "data_key": "<base64, 32 bytes>", "format": 1, "host_secret": "<base64, 32 bytes>"}
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from blake3 import blake3

from backups.errors import Damaged
from backups.keys.age import Identity, unwrap, wrap
from backups.keys.host_secret import HostKeys
from backups.keys.sealing import KEY_BYTES, DataKeySealer, Sealer
from backups.keys.secret import Secret

FORMAT: Final = 1
_CANARY: Final = b"gymkhana canary v1"


class Envelope(msgspec.Struct, frozen=True):
    """What stands in a manifest, or beside it when keys were rotated. Everything in it may be shown.

    `key_id` tells data keys apart; `recipients` are those whose identities open it; `wrapped` is one age file in base64;
    `canary` is a known text sealed with the data key, in base64; `host` tells whose secret is inside.
    """

    key_id: str
    recipients: tuple[str, ...]
    wrapped: str
    canary: str
    host: str


@dataclass(frozen=True, slots=True)
class Keys:
    """What is inside an envelope: the keys, and the backup that they are for."""

    backup: str
    data_key: Secret
    host_secret: Secret

    @property
    def sealer(self) -> Sealer:
        """A sealer with the data key, which nonces let do so from any number of places."""
        return DataKeySealer(_key_id(self.data_key), self.data_key)


def close(keys: Keys, recipients: tuple[str, ...]) -> Envelope:
    """The keys in a new envelope for these recipients, which are known to be good ones."""
    sealer = keys.sealer
    return Envelope(
        key_id=sealer.key_id,
        recipients=recipients,
        wrapped=base64.b64encode(wrap(_written(keys), recipients)).decode(),
        canary=base64.b64encode(sealer.seal(_canary_place(keys.backup), _CANARY)).decode(),
        host=HostKeys(keys.host_secret).host,
    )


def open_first(envelope: Envelope, wrapped_again: Iterable[Envelope], held: Sequence[Identity]) -> Keys | None:
    """The keys inside, out of the first wrapping that an identity opens; None when nothing says that one should.

    Raises Damaged when one should and does not, or when what comes out is not what this envelope was closed over.
    """
    wrappings = (envelope, *wrapped_again)
    for wrapping in wrappings:
        content = unwrap(_decoded(wrapping.wrapped), held)
        if content is not None:
            return _tried(_parsed(content), envelope)
    at_hand = {identity.recipient for identity in held}
    if any(at_hand.intersection(wrapping.recipients) for wrapping in wrappings):
        raise Damaged(
            f"The envelope of the key {envelope.key_id} is damaged: the identity it was made for does not open it."
        )
    return None


def _tried(keys: Keys | None, envelope: Envelope) -> Keys:
    if keys is None:
        raise Damaged(f"The envelope of the key {envelope.key_id} opens, and there are no keys in it.")
    if (keys.sealer.key_id, HostKeys(keys.host_secret).host) != (envelope.key_id, envelope.host):
        raise Damaged(f"The envelope of the key {envelope.key_id} holds the keys of something else.")
    if keys.sealer.open(_canary_place(keys.backup), _decoded(envelope.canary)) != _CANARY:
        raise Damaged(f"The canary of the key {envelope.key_id} is not the one that was sealed with it.")
    return keys


class _Written(msgspec.Struct, frozen=True):
    format: int
    backup: str
    data_key: bytes
    host_secret: bytes

    def __repr__(self) -> str:
        return f"<keys of {self.backup}>"


def _written(keys: Keys) -> bytes:
    written = _Written(FORMAT, keys.backup, keys.data_key.reveal(), keys.host_secret.reveal())
    return msgspec.json.encode(written, order="sorted")


def _parsed(content: Secret) -> Keys | None:
    """The keys written there. Nothing is raised from here: a traceback may be shown with its locals."""
    try:
        written = msgspec.json.decode(content.reveal(), type=_Written)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if written.format != FORMAT or {len(written.data_key), len(written.host_secret)} != {KEY_BYTES}:
        return None
    return Keys(written.backup, Secret(written.data_key), Secret(written.host_secret))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""  # Which no key opens, and that is then what is said of it.


def _key_id(data_key: Secret) -> str:
    return str(blake3(data_key.reveal(), derive_key_context="gymkhana 2026 data key id v1").hexdigest()[:16])


def _canary_place(backup_id: str) -> str:
    return f"{backup_id}/canary"
