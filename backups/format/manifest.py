"""What one backup is: the record that makes it exist.

Published last and once, as canonical JSON (keys sorted, no spaces). Later knowledge, such as the outcome of a
verification, goes into records beside it. Each manifest carries the hash of the one before it, so that a backup exchanged
after the fact shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from blake3 import blake3

from backups.clock import compact, parse
from backups.errors import Damaged
from backups.format.facts import Facts
from backups.keys.keyring import Envelope

FORMAT: Final = 2
"""The shape of a manifest. Readers refuse any other; an added field with a default keeps the number."""

CODEC: Final = "zstd"
FULL: Final = "full"
INCREMENTAL: Final = "incr"

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


class Pack(msgspec.Struct, frozen=True):
    """One object of a backup, and how its bytes are known: their number, and their BLAKE3 as stored."""

    name: str
    stored_bytes: int
    blake3: str


class LogSpan(msgspec.Struct, frozen=True):
    """Where in the shipped log the backup lies.

    Segments of `generation` up to `before` are in it for certain, and replaying from the next one is right. With all up to
    `after` applied the database is consistent again with what was shipped; None when nobody could tell.
    """

    generation: str
    before: int
    after: int | None


class ServerState(msgspec.Struct, frozen=True, kw_only=True):
    """Of a backup of a server: which cluster, and how to come from the copy to one state of it.

    Recovery begins at `begin_lsn`, in the log's segment `begin_segment`, and the state is the one at the restore point
    `point`, which ends at `point_lsn`; the log up to there is in the backup. With `exact` the facts, which are those of
    `database` as `user` sees it, are of that very state.
    """

    system: str
    major: int
    timeline: int
    begin_lsn: str
    begin_segment: str
    point: str
    point_lsn: str
    exact: bool
    segment_bytes: int
    user: str
    database: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One complete backup.

    `taken` (RFC 3339, UTC) and `taken_t` (monotonic seconds within `boot`) are the same instant: what was acknowledged
    before it is in the backup. `seconds` is how long the whole run took. `parent` is the backup that this one builds on,
    None for a full one, and `chain_length` how many incremental ones lie below it, itself included. A `synthetic` full
    backup was put together from a stored chain, not read from the database. `database` is where the database was, for
    people: nothing is restored there unasked.

    The image is `units` pages of `unit_bytes`, and `root` is the hash that identifies it; `stored_units` of them are in the
    packs of this backup, the others in those of its ancestors. `checksum` shows damage to the manifest itself; `mac` shows
    forgery: it is made with a key that the store does not know, and empty when the backup is not encrypted.

    A `native` increment is one that the server itself made: its image is stored whole, holds the blocks that changed since
    its parent, and is laid over the parent's by the server's own program, which comes to `whole_bytes`. `listing` is what
    the next one is made from. `why_whole` says why an increment is not native, empty when nobody could have expected it.
    """

    format: int = FORMAT
    id: str
    kind: str
    engine: str
    database: str
    parent: str | None
    previous: Predecessor | None
    synthetic: bool = False
    taken: str
    taken_t: float
    seconds: float
    boot: str
    host: str
    unit_bytes: int
    units: int
    stored_units: int
    root: str
    chain_length: int
    packs: tuple[Pack, ...]
    index: Pack
    codec: str
    facts: Facts
    versions: dict[str, str]
    log: LogSpan | None = None
    server: ServerState | None = None
    native: bool = False
    whole_bytes: int = 0
    why_whole: str = ""
    listing: Pack | None = None
    envelope: Envelope | None = None
    checksum: str = ""
    mac: str = ""

    @property
    def sequence(self) -> int:
        """Its place in the order of backups."""
        backup_id = BackupId.read(self.id)
        assert backup_id is not None, "decode() lets no other id through"
        return backup_id.sequence

    @property
    def objects(self) -> tuple[Pack, ...]:
        """Everything it stored, the manifest aside."""
        return (*self.packs, self.index, *((self.listing,) if self.listing else ()))

    @property
    def image_bytes(self) -> int:
        """How large its own image is."""
        return self.units * self.unit_bytes

    @property
    def size_bytes(self) -> int:
        """What it comes to when restored."""
        return self.whole_bytes if self.native else self.image_bytes

    @property
    def stored_bytes(self) -> int:
        """What it takes in the store, the manifest and its ancestors aside."""
        return sum(stored.stored_bytes for stored in self.objects)


class _Format(msgspec.Struct):
    format: int


def encode(manifest: Manifest) -> bytes:
    """The bytes of the manifest, the same for the same manifest."""
    return msgspec.json.encode(manifest, order="sorted") + b"\n"


def signed(manifest: Manifest, mac: Callable[[bytes], str]) -> Manifest:
    """The manifest with its checksum, and with its code of authentication by that key."""
    content = authenticated(encode(manifest))
    return msgspec.structs.replace(manifest, checksum=fingerprint(content), mac=mac(content))


def authenticated(content: bytes) -> bytes:
    """What checksum and code speak for: all that the manifest says but these two, fields not known here included."""
    return msgspec.json.encode({**msgspec.json.decode(content), "checksum": "", "mac": ""}, order="sorted")


def decode(backup_id: str, content: bytes) -> Manifest:
    """The manifest of that backup. Raises Damaged, in one sentence, for anything else."""
    try:
        written = msgspec.json.decode(content, type=_Format).format
        if written != FORMAT:
            raise Damaged(_of_another_format(written))
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.ValidationError as error:
        raise Damaged(f"Its manifest is not a manifest: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"Its manifest is not JSON: {error}.") from error
    if manifest.id != backup_id:
        raise Damaged(f"Its manifest is that of another backup, {manifest.id}.")
    if manifest.checksum != fingerprint(authenticated(content)):
        raise Damaged("Its manifest is damaged: its checksum differs.")
    flaw = _flaw(manifest)
    if flaw:
        raise Damaged(f"Its manifest contradicts itself: {flaw}.")
    return manifest


def _of_another_format(written: int) -> str:
    if written < FORMAT:
        return f"Its manifest has format {written}, which was never released and is not read any more."
    return f"Its manifest has format {written}, newer than the {FORMAT} that this version reads: use a newer version."


def _flaw(manifest: Manifest) -> str:
    """What cannot be true of any backup; the code that reads chains relies on its not being so."""
    kinds = {FULL: manifest.parent is None, INCREMENTAL: manifest.parent is not None}
    home = f"objects/{manifest.id}/"
    if not kinds.get(manifest.kind, False) or (manifest.kind == FULL) != (manifest.chain_length == 0):
        return (
            f"its kind is {manifest.kind}, its parent {manifest.parent}, its place in the chain {manifest.chain_length}"
        )
    if manifest.unit_bytes < 1 or not 0 <= manifest.stored_units <= manifest.units:
        return f"{manifest.stored_units} of {manifest.units} units of {manifest.unit_bytes} bytes are in it"
    if any(not stored.name.startswith(home) or stored.stored_bytes < 0 for stored in manifest.objects):
        return f"it names objects outside {home}"
    if manifest.native and (
        manifest.parent is None or manifest.server is None or manifest.stored_units < manifest.units
    ):
        return "it is an increment of a server's own, and has no parent, no server, or not its whole image"
    return ""


def fingerprint(content: bytes) -> str:
    """The hash by which the next manifest will know this one."""
    return str(blake3(content).hexdigest())


def name_of(backup_id: str) -> str:
    """The object that holds the manifest of that backup."""
    return f"{PREFIX}{backup_id}{_SUFFIX}"


def id_in(name: str) -> BackupId | None:
    """The backup whose manifest that object is, None when it is something else."""
    return BackupId.read(name.removeprefix(PREFIX).removesuffix(_SUFFIX)) if name.endswith(_SUFFIX) else None
