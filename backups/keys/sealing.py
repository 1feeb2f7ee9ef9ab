"""Sealing what goes into a store: AES-256-GCM under a data key, each piece bound to the place it belongs to.

    sealed = 12 bytes of random nonce | ciphertext, as long as the plain text | 16 bytes of tag

The place (`<backup id>/<pack>/<chunk number>`, in UTF-8) is the associated data, so that a piece moved elsewhere does not
open. Nonces are random, not counted: a counter would start again in a forked process or a retried run, and one nonce used
twice breaks GCM. With at most 2^32 pieces to a key two equal ones are less likely than one in 2^32.
"""

from __future__ import annotations

import os
from itertools import count
from typing import Final, NoReturn, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backups.errors import BackupError, Damaged
from backups.keys.secret import Secret

KEY_BYTES: Final = 32
OVERHEAD_BYTES: Final = 28
"""How much longer a sealed piece is than the plain one."""

_NONCE_BYTES: Final = 12
_MOST_PIECES: Final = 1 << 32


class Sealer(Protocol):
    """What holds of every sealer: `open(place, seal(place, plain)) == plain`, from any number of threads at once."""

    @property
    def key_id(self) -> str:
        """Which data key it is, told without telling the key; empty when nothing is sealed."""

    def seal(self, place: str, plain: bytes) -> bytes:
        """The bytes to store at that place."""

    def open(self, place: str, sealed: bytes) -> bytes:
        """What was sealed for that place. Raises Damaged, naming it, for anything else."""


class _Plain:
    """Seals nothing: bytes pass through, and only the hashes of a manifest speak for them."""

    __slots__ = ()

    @property
    def key_id(self) -> str:
        return ""

    def seal(self, place: str, plain: bytes) -> bytes:  # noqa: ARG002
        return plain

    def open(self, place: str, sealed: bytes) -> bytes:  # noqa: ARG002
        return sealed

    def __repr__(self) -> str:
        return "PLAIN"


PLAIN: Final[Sealer] = _Plain()


class DataKeySealer:
    """Seals with one data key, which is used for nothing else."""

    __slots__ = ("_aead", "_key_id", "_most_pieces", "_numbers")

    def __init__(self, key_id: str, data_key: Secret, *, most_pieces: int = _MOST_PIECES) -> None:
        self._key_id = key_id
        self._aead = AESGCM(data_key.reveal())
        self._numbers = count(1)
        self._most_pieces = most_pieces

    @property
    def key_id(self) -> str:
        return self._key_id

    def seal(self, place: str, plain: bytes) -> bytes:
        if next(self._numbers) > self._most_pieces:
            raise BackupError(
                f"{place} was not sealed: the data key {self._key_id} has sealed {self._most_pieces} pieces, all it may; "
                "begin a new full backup."
            )
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, place.encode())

    def open(self, place: str, sealed: bytes) -> bytes:
        if len(sealed) < OVERHEAD_BYTES:
            raise Damaged(
                f"{place} is cut short: it has {len(sealed)} bytes, and nothing sealed has under {OVERHEAD_BYTES}."
            )
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
        except InvalidTag:
            raise Damaged(f"{place} is not what was sealed there with the key {self._key_id}.") from None

    def __repr__(self) -> str:
        return f"<sealer of the key {self._key_id}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A sealer is not pickled: it holds a key.")
