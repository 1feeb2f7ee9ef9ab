"""Where a listing goes on: an opaque word that names the last row seen, and is good for that listing alone.

It grants nothing, so it is not signed; it is checked, so that a cut, changed or mixed-up one is refused and skips no rows.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from system.errors import Invalid

_CHECK_BYTES = 8


@dataclass(frozen=True, slots=True)
class Position:
    """The row after which a listing goes on, newest first."""

    at_ms: int
    id: int


def cursor(position: Position, listing: Sequence[object]) -> str:
    """The word for that place in the listing; `listing` is what else was asked for."""
    place = msgspec.msgpack.encode((position.at_ms, position.id))
    return base64.urlsafe_b64encode(_check(place, listing) + place).decode().rstrip("=")


def position(word: str, listing: Sequence[object]) -> Position:
    """The place that the word names. Raises Invalid when it is not one of this listing's."""
    try:
        raw = base64.b64decode(word.encode("ascii") + b"=" * (-len(word) % 4), altchars=b"-_", validate=True)
        check, place = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        if check == _check(place, listing):
            at_ms, row = msgspec.msgpack.decode(place, type=tuple[int, int])
            found = Position(at_ms, row)
            if cursor(found, listing) == word:
                return found
    except (UnicodeEncodeError, binascii.Error, msgspec.MsgspecError):
        pass
    raise Invalid("cursor-invalid", "The cursor is not one of this listing's; begin again without `after`.")


def _check(place: bytes, listing: Sequence[object]) -> bytes:
    return hashlib.blake2b(repr(tuple(listing)).encode() + b"\0" + place, digest_size=_CHECK_BYTES).digest()
