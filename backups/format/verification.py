"""What is known about a backup beyond its manifest: records of verifications, appended beside it and never changed.

level 0   the manifests of its chain: readable, authentic, none missing
level 1   every object of the chain is there, with its size
level 2   the hash of every object not looked at before, and of a seeded tenth of the others
level 3   every stored byte read and hashed; with the key, every unit opened and hashed
level 4   restored to a scratch place and checked by the engine, contents digested
level 5   a service booted on it
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from backups.errors import Damaged, NameTaken
from backups.format.facts import TableContent
from backups.format.manifest import PREFIX
from backups.stores.store import Store

LEVELS: Final = range(6)
VERIFIED: Final = 3
REHEARSED: Final = 5

_NAME = re.compile(re.escape(PREFIX) + r"(?P<id>.+)\.verified-(?P<number>\d{4,})\.json")


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """One look at one backup, as thorough as its `level` says, and everything below that.

    `findings` is empty exactly when `ok`. `unseen` says what this look could not see though its level asks for it. `seed`
    chose the sample, and chooses the same again. `content` are the digests of what every table held (level 4). `at` is
    RFC 3339 in UTC; `seconds` is how long it took.
    """

    format: int = 2
    backup: str
    level: int
    ok: bool
    findings: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    at: str
    seconds: float
    read_bytes: int
    host: str
    seed: int = 0
    content: dict[str, TableContent] = {}


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


def standing_refusal(looks: Iterable[Verification]) -> Verification | None:
    """The look that found the backup bad and still stands: only one that saw as much can say that it is good again."""
    refusal: Verification | None = None
    for look in looks:
        if refusal is not None and not _sees_as_much(look, refusal):
            continue
        refusal = None if look.ok else look
    return refusal


def _sees_as_much(look: Verification, other: Verification) -> bool:
    return look.level >= other.level and set(look.unseen) <= set(other.unseen)


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
