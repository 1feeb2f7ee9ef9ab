"""What one backup is: the record that makes it exist.

Published last and once, as canonical JSON (keys sorted, no spaces). Later knowledge, such as the outcome of a
verification, goes into records beside it. Each manifest carries the hash of the one before it, so that a backup exchanged
after the fact shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from blake3 import blake3

from backups.clock import compact, parse
from backups.errors import Damaged
from backups.facts import Facts
from backups.packing import PackedFile

FORMAT: Final = 1
"""The shape of a manifest. Readers refuse a newer one; an added field with a default keeps the number."""

PREFIX: Final = "manifests/"
_SUFFIX: Final = ".json"
_ID = re.compile(
    r"(?P<began>\d{8}T\d{6}Z)-(?P<sequence>\d{6,})-(?P<kind>[a-z]+)-(?P<engine>[a-z0-9]+)-(?P<token>[0-9a-f]{4})"
)


@dataclass(frozen=True, slots=True)
class BackupId:
    """`20261123T090000Z-000007-full-sqlite-1f3a`: sorts by time for people; the sequence alone says what came after what."""

    began: str
    sequence: int
    kind: str
    engine: str
    token: str

    def __str__(self) -> str:
        return f"{self.began}-{self.sequence:06d}-{self.kind}-{self.engine}-{self.token}"

    @property
    def began_at(self) -> datetime:
        """The wall clock's opinion of when it began."""
        return parse(self.began)

    @classmethod
    def read(cls, text: str) -> BackupId | None:
        """The id written there, None when it is not one."""
        match = _ID.fullmatch(text)
        if match is None:
            return None
        return cls(match["began"], int(match["sequence"]), match["kind"], match["engine"], match["token"])

    @classmethod
    def new(cls, began: datetime, sequence: int, kind: str, engine: str, token: str) -> BackupId:
        return cls(compact(began), sequence, kind, engine, token)


class Predecessor(msgspec.Struct, frozen=True):
    """The backup before this one, and the BLAKE3 of its manifest's bytes."""

    id: str
    blake3: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One complete backup.

    `taken` (RFC 3339, UTC) and `taken_t` (monotonic seconds within `boot`) are the same instant: what was acknowledged
    before it is in the backup. `seconds` is how long the whole run took. `parent` is the backup that this one builds on,
    None for a full one. `database` is where the database was, for people: nothing is restored there unasked.
    """

    format: int = FORMAT
    id: str
    kind: str
    engine: str
    database: str
    parent: str | None
    previous: Predecessor | None
    taken: str
    taken_t: float
    seconds: float
    boot: str
    host: str
    files: tuple[PackedFile, ...]
    facts: Facts
    versions: dict[str, str]

    @property
    def sequence(self) -> int:
        """Its place in the order of backups."""
        backup_id = BackupId.read(self.id)
        assert backup_id is not None, "decode() lets no other id through"
        return backup_id.sequence

    @property
    def size_bytes(self) -> int:
        """What it comes to when restored."""
        return sum(file.size_bytes for file in self.files)

    @property
    def stored_bytes(self) -> int:
        """What it takes in the store, the manifest aside."""
        return sum(file.stored_bytes for file in self.files)


class _Format(msgspec.Struct):
    format: int


def encode(manifest: Manifest) -> bytes:
    """The bytes of the manifest, the same for the same manifest."""
    return msgspec.json.encode(manifest, order="sorted") + b"\n"


def decode(backup_id: str, content: bytes) -> Manifest:
    """The manifest of that backup. Raises Damaged, in one sentence, for anything else."""
    try:
        written = msgspec.json.decode(content, type=_Format).format
        if written > FORMAT:
            raise Damaged(
                f"Its manifest has format {written}, newer than the {FORMAT} that this version reads: use a newer version."
            )
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.ValidationError as error:
        raise Damaged(f"Its manifest is not a manifest: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"Its manifest is not JSON: {error}.") from error
    if manifest.id != backup_id:
        raise Damaged(f"Its manifest is that of another backup, {manifest.id}.")
    return manifest


def fingerprint(content: bytes) -> str:
    """The hash by which the next manifest will know this one."""
    return str(blake3(content).hexdigest())


def name_of(backup_id: str) -> str:
    """The object that holds the manifest of that backup."""
    return f"{PREFIX}{backup_id}{_SUFFIX}"


def id_in(name: str) -> BackupId | None:
    """The backup whose manifest that object is, None when it is something else."""
    return BackupId.read(name.removeprefix(PREFIX).removesuffix(_SUFFIX)) if name.endswith(_SUFFIX) else None
