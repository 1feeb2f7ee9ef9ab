"""One generation of shipped log while it is being written: begun or taken up again, and lengthened segment by segment."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from backups.clock import compact, parse, rfc3339
from backups.errors import BackupError, Damaged, LogBroken, NameTaken, StoreError
from backups.keys.keyring import Keyring
from backups.keys.sealing import Sealer
from backups.log import logbook, segments, stretch
from backups.log.continuity import Position
from backups.log.segments import Begin, Header, Key
from backups.log.tail import Identity
from backups.sqlite.wal import FRAME_HEADER_BYTES, Checksum, Salts
from backups.stores import store as stores
from backups.stores.store import Store


class Course:
    """A generation, and how far it has been shipped. Only what `shipped` and `index` say is durable in the store."""

    def __init__(
        self, store: Store, begin: Begin, sealer: Sealer, key: bytes, *, index: int, previous: str, read_at: str
    ) -> None:
        self._store = store
        self._begin = begin
        self._sealer = sealer
        self._key = key
        self._previous = previous
        self._read_at = read_at
        self._pending: tuple[Header, bytes] | None = None
        self.index = index
        self.shipped = Position(begin.salts, begin.frame, begin.checksum)

    @property
    def generation(self) -> str:
        return self._begin.generation

    @property
    def page_size(self) -> int:
        return self._begin.page_size

    def settle(self) -> None:
        """Publish the segment of which it is not known whether it was, with the very same bytes."""
        if self._pending is not None:
            self._publish(*self._pending)

    def ship(self, frames: bytes, first: int, salts: Salts, now: datetime, position: int | None) -> Header:
        """Publish these frames as the next segment. On return they are durable in the store.

        Raises LogBroken when they are not the frames that the log's index speaks of, and a StoreError when it is not known
        whether they were published: `settle` must succeed before anything else.
        """
        last, commits = first - 1, []
        after: Checksum = segments.START
        for frame, _ in stretch.frames_in(frames, self.page_size):
            last, after = last + 1, frame.checksum
            if frame.salts != salts:
                raise LogBroken(f"Frame {last} of the log is of another round than its index says.")
            if frame.units:
                commits.append((last, frame.units))
        # A clock set back would make two instants out of one; what was read later has no earlier time.
        self._read_at = max(rfc3339(now), self._read_at)
        header = Header(
            generation=self.generation,
            index=self.index + 1,
            page_size=self.page_size,
            salts=salts,
            first=first,
            last=last,
            before=self.shipped.checksum if first > 1 else segments.START,
            after=after,
            commits=tuple(commits),
            read_at=self._read_at,
            position=position,
            previous=self._previous,
            key_id=self._sealer.key_id,
        )
        self._publish(header, segments.encode(header, frames, self._sealer, self._key))
        return header

    def _publish(self, header: Header, content: bytes) -> None:
        name = segments.name_of(self.generation, header.index)
        self._pending = header, content
        require_here(self._store, self.generation)
        try:
            self._store.create(name, (content,))
        except NameTaken as error:
            if stores.read(self._store, name) != content:
                raise LogBroken(f"{name} was written by somebody else, who ships the same log.") from error
        require_here(self._store, self.generation)
        self._pending = None
        counted = self.shipped.change
        change = None if counted is None else (counted + len(header.commits)) & 0xFFFFFFFF
        self.index, self._previous = header.index, content[-32:].hex()
        self.shipped = replace(header.end, change=change)


def begin(
    store: Store,
    keyring: Keyring,
    database: Path,
    identity: Identity,
    page_size: int,
    at: Position,
    now: datetime,
    why: str,
) -> Course:
    """A new generation that begins at that place. On return it is durable in the store, and has no backup yet."""
    require_here(store)
    known = logbook.generations(store)
    last = known[-1] if known else None
    generation = segments.generation_id(1 + (last.sequence if last else 0), compact(now), secrets.token_hex(4))
    sealer, envelope = keyring.new(generation)
    record = Begin(
        generation=generation,
        began=rfc3339(now),
        why=why,
        previous=last.id if last else None,
        shipped=last.last if last else None,
        database=str(database),
        device=identity[0],
        inode=identity[1],
        host=socket.gethostname(),
        page_size=page_size,
        salts=at.salts,
        frame=at.frame,
        checksum=at.checksum,
        envelope=envelope,
    )
    content = segments.encode_begin(record, keyring.hash_key)
    store.create(segments.begin_name(generation), (content,))
    course = Course(
        store, record, sealer, keyring.hash_key, index=0, previous=segments.hash_of(content), read_at=rfc3339(now)
    )
    course.shipped = at
    return course


def resume(store: Store, keyring: Keyring, database: Path, identity: Identity, page_size: int) -> Course | str:
    """The newest generation where it was left, or why it cannot be taken up again, in a sentence."""
    require_here(store)
    known = logbook.generations(store)
    if not known:
        return "There was no shipped log in the store."
    newest = known[-1]
    try:
        record, previous = logbook.read_begin(store, newest.id, None)
        key = _key_of(record, keyring)
        if key is None:
            return "The keys are not those of the generation before."
        record, previous = logbook.read_begin(store, newest.id, key)
        if (record.database, record.page_size) != (str(database), page_size):
            return f"The generation before is that of {record.database} with pages of {record.page_size} bytes."
        if (record.device, record.inode) != identity:
            return f"{database} is another file than the generation before was shipped from."
        last = logbook.read_segment(store, newest.id, newest.last, key) if newest.indexes else None
    except Damaged as error:
        return str(error)
    if newest.indexes != tuple(range(newest.last - len(newest.indexes) + 1, newest.last + 1)):
        return f"Segments of {newest.id} are missing."
    sealer, envelope = keyring.new(newest.id)
    if envelope is not None:
        content = segments.encode_key(Key(generation=newest.id, envelope=envelope), key)
        store.create(segments.key_name(newest.id, envelope.key_id), (content,))
    course = Course(
        store,
        record,
        sealer,
        key,
        index=newest.last,
        previous=last.hash if last else previous,
        read_at=last.header.read_at if last else record.began,
    )
    if last is not None:
        course.shipped = last.header.end
    return course


def _key_of(record: Begin, keyring: Keyring) -> bytes | None:
    """The key of the generation's hashes, None when it was sealed in another way than would be done now."""
    if (record.envelope is None) != (not keyring.recipients):
        return None
    try:
        return keyring.keys_of(record.envelope).hash_key
    except BackupError:
        return None


def require_here(store: Store, generation: str | None = None) -> None:
    """Return unless the store is a directory that went away: one made anew in its place would not hold what went before.

    Raises StoreError. Of stores elsewhere nothing is asked: they do not make themselves anew.
    """
    if store.local is None:
        return
    if not store.local.is_dir():
        raise StoreError(f"The store {store.local} is not there any more: mount it again, or put it back.")
    if generation is not None and store.size(segments.begin_name(generation)) is None:
        raise StoreError(f"{store.local} is not the store that {generation} was begun in: put that one back.")


def stretches(first: int, last: int, page_size: int) -> Iterable[tuple[int, int]]:
    """The frames `first` to `last` in stretches that each fit in a segment."""
    most = max(1, segments.MOST_BYTES // (page_size + FRAME_HEADER_BYTES))
    for begin_frame in range(first, last + 1, most):
        yield begin_frame, min(last, begin_frame + most - 1)


def instant_of(header: Header) -> datetime:
    """When the frames of that segment were read."""
    return parse(header.read_at)
