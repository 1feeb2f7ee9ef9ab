"""Units, the pages of a database, and the hashes by which they are known.

An image is the database as consecutive units 0..n-1. The hash of a unit is keyed, so that who reads the store learns
nothing from comparing hashes with those of pages he guesses. The root is the hash over all unit hashes: it identifies the
whole image, and two backups of the same content have the same root.
"""

from __future__ import annotations

from typing import Final

from blake3 import blake3

HASH_BYTES: Final = 16


def hash_of(unit: bytes | memoryview, key: bytes) -> bytes:
    """The keyed hash of one unit."""
    return blake3(unit, key=key).digest(HASH_BYTES)


def root_of(hashes: bytes | bytearray | memoryview, key: bytes) -> str:
    """The root over the hashes of all units in order, as hex digits."""
    return blake3(hashes, key=key).hexdigest()


def hashes_of(block: bytes | memoryview, unit_bytes: int, key: bytes) -> bytes:
    """The hashes of the units in a block that is a multiple of the unit, one after another."""
    view = memoryview(block)
    return b"".join(
        [blake3(view[at : at + unit_bytes], key=key).digest(HASH_BYTES) for at in range(0, len(view), unit_bytes)]
    )
