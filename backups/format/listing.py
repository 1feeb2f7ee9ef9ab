"""The list that a server gave of what it sent for a backup (`backup_manifest`): from it the server tells what changed since.

    objects/<id>/listing   =  sealed zstd of the list, by the key of the backup's index

It lies on the image as well, for whoever restores; but the host that makes the next increment cannot open that.
"""

from __future__ import annotations

import sys
from typing import Final

from backups.errors import Damaged
from backups.keys.sealing import Sealer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MOST_BYTES: Final = 1 << 30
"""PostgreSQL itself takes no more."""


def name_of(backup_id: str) -> str:
    return f"objects/{backup_id}/listing"


def encode(content: bytes, backup_id: str, sealer: Sealer) -> bytes:
    """The list as it is stored."""
    return sealer.seal(_place_of(backup_id), zstd.compress(content, level=3))


def decode(stored: bytes, backup_id: str, sealer: Sealer) -> bytes:
    """The list in these bytes. Raises Damaged."""
    compressed = sealer.open(_place_of(backup_id), stored)
    try:
        return zstd.ZstdDecompressor().decompress(compressed, _MOST_BYTES)
    except zstd.ZstdError as error:
        raise Damaged(f"The list of what {backup_id} holds cannot be read: {error}.") from error


def _place_of(backup_id: str) -> str:
    return f"{backup_id}/listing"
