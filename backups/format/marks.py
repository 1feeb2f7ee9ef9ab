"""What people and rules have said about a backup after it was made: that it is to be kept, or that it is to go.

manifests/<id>.pinned-0001.json      a pin or its removal; the highest number speaks
manifests/<id>.expired.json          the first phase of deleting: from now on nothing is restored from it unasked
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from backups.clock import parse
from backups.errors import NameTaken, StoreError
from backups.format.manifest import PREFIX
from backups.stores import store as stores
from backups.stores.store import Store, StoredObject

_PIN = re.compile(re.escape(PREFIX) + r"(?P<id>.+)\.pinned-(?P<number>\d{4,})\.json")
_EXPIRED = re.compile(re.escape(PREFIX) + r"(?P<id>.+)\.expired\.json")


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """One word about keeping a backup: `pinned` or not any more, said at an instant (RFC 3339), and why."""

    format: int = 1
    backup: str
    pinned: bool
    at: str
    why: str = ""


def pin(store: Store, backup: str, *, pinned: bool, at: str, why: str = "") -> str:
    """Append a pin, or the removal of one, and return the name of its record."""
    content = msgspec.json.encode(Pin(backup=backup, pinned=pinned, at=at, why=why), order="sorted") + b"\n"
    prefix = f"{PREFIX}{backup}.pinned-"
    number = 1 + max((_number(stored.name) for stored in store.list(prefix)), default=0)
    while True:
        name = f"{prefix}{number:04d}.json"
        try:
            store.create(name, (content,))
        except NameTaken:
            number += 1  # Somebody else said something at the same time; both records stay.
            continue
        return name


def pinned(store: Store, listed: Iterable[StoredObject]) -> frozenset[str]:
    """The backups whose latest record pins them. A record that cannot be read pins: to keep is the safe side."""
    latest: dict[str, str] = {}
    for stored in sorted(listed, key=lambda stored: _number(stored.name)):
        if match := _PIN.fullmatch(stored.name):
            latest[match["id"]] = stored.name
    return frozenset(backup for backup, name in latest.items() if _pins(store, name))


class Expiry(msgspec.Struct, frozen=True, kw_only=True):
    """That a backup, or a part of the shipped log, is to go, since an instant (RFC 3339)."""

    format: int = 1
    backup: str
    at: str


def expired_name(backup: str) -> str:
    """The object that marks that backup."""
    return f"{PREFIX}{backup}.expired.json"


def expire(store: Store, backup: str, *, at: str) -> None:
    """Mark the backup to go. One that is marked already keeps its mark."""
    with suppress(NameTaken):
        store.create(expired_name(backup), (msgspec.json.encode(Expiry(backup=backup, at=at), order="sorted") + b"\n",))


def expirations(store: Store) -> dict[str, datetime]:
    """Every marked backup, and since when; those included of which nothing but the mark and some objects is left.

    A mark that cannot be read is as new as can be: to keep is the safe side.
    """
    found = {}
    for stored in store.list(PREFIX):
        if match := _EXPIRED.fullmatch(stored.name):
            found[match["id"]] = since(store, stored.name)
    return found


def since(store: Store, name: str) -> datetime:
    """When the mark of that name was made; as late as can be when it cannot be read."""
    try:
        return parse(msgspec.json.decode(stores.read(store, name), type=Expiry).at)
    except (StoreError, msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return datetime.max.replace(tzinfo=UTC)


def expired(listed: Iterable[StoredObject]) -> frozenset[str]:
    """The backups that are marked to go."""
    return frozenset(match["id"] for stored in listed if (match := _EXPIRED.fullmatch(stored.name)))


def _pins(store: Store, name: str) -> bool:
    try:
        return msgspec.json.decode(stores.read(store, name), type=Pin).pinned
    except (StoreError, msgspec.MsgspecError, UnicodeDecodeError):
        return True


def _number(name: str) -> int:
    match = _PIN.fullmatch(name)
    return int(match["number"]) if match else 0
