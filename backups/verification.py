"""What is known about a backup beyond its manifest: records of verifications, appended beside it and never changed."""

from __future__ import annotations

import re

import msgspec

from backups.errors import Damaged, NameTaken
from backups.manifest import PREFIX
from backups.store import Store

_NAME = re.compile(re.escape(PREFIX) + r"(?P<id>.+)\.verified-(?P<number>\d{4,})\.json")


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """One look at one backup: every byte read, restored to a scratch place, compared with its manifest.

    `findings` is empty exactly when `ok`. `at` is RFC 3339 in UTC; `seconds` is how long it took.
    """

    format: int = 1
    backup: str
    ok: bool
    findings: tuple[str, ...]
    at: str
    seconds: float
    read_bytes: int
    host: str


def append(store: Store, verification: Verification) -> str:
    """Write the record under the next free number, and return its name."""
    content = msgspec.json.encode(verification, order="sorted") + b"\n"
    prefix = f"{PREFIX}{verification.backup}.verified-"
    number = 1 + max((number_in(stored.name) for stored in store.list(prefix)), default=0)
    while True:
        name = f"{prefix}{number:04d}.json"
        try:
            store.create(name, (content,))
        except NameTaken:
            number += 1  # Somebody else verified the same backup at the same time; both records stay.
            continue
        return name


def backup_in(name: str) -> str | None:
    """The id of the backup that this record is about, None when the object is no record."""
    match = _NAME.fullmatch(name)
    return match["id"] if match else None


def number_in(name: str) -> int:
    """The place of the record among those of its backup, 0 when the object is no record."""
    match = _NAME.fullmatch(name)
    return int(match["number"]) if match else 0


def decode(content: bytes) -> Verification:
    """The record in these bytes. Raises Damaged for anything else."""
    try:
        return msgspec.json.decode(content, type=Verification)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"The record of the verification cannot be read: {error}.") from error
