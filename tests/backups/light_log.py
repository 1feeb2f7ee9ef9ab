"""A shipped log that nobody shipped, and a stand whose backups lead into it: for what only asks which log there is."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from backups.backup import run_backup
from backups.clock import SYSTEM, rfc3339
from backups.format import marks
from backups.format.manifest import Manifest
from backups.keys.keyring import Keyring
from backups.log import segments
from backups.log.segments import Begin, Header
from backups.stores.directory import DirectoryStore
from backups.stores.store import Store
from tests.backups.light import ENGINE, PAGE, Stand

_SALTS = (7, 8)


def generation_of(sequence: int) -> str:
    return segments.generation_id(sequence, f"20261123T0{sequence}0000Z", f"{sequence:08x}")


def ship(store: Store, sequence: int, count: int) -> str:
    """A generation of that many segments, each of one commit of one page."""
    generation, keyring = generation_of(sequence), Keyring.plain()
    sealer, _ = keyring.new(generation)
    now = rfc3339(SYSTEM.now())
    begin = Begin(
        generation=generation,
        began=now,
        why="It is for a test.",
        previous=generation_of(sequence - 1) if sequence > 1 else None,
        shipped=None,
        database="/nowhere/gym.db",
        device=1,
        inode=1,
        host="here",
        page_size=PAGE,
        salts=_SALTS,
        frame=0,
        checksum=segments.START,
        envelope=None,
    )
    content = segments.encode_begin(begin, keyring.hash_key)
    store.create(segments.begin_name(generation), (content,))
    previous = segments.hash_of(content)
    for index in range(1, count + 1):
        header = Header(
            generation=generation,
            index=index,
            page_size=PAGE,
            salts=_SALTS,
            first=index,
            last=index,
            before=(index - 1, 1) if index > 1 else segments.START,
            after=(index, 1),
            commits=((index, 1),),
            read_at=now,
            position=None,
            previous=previous,
            key_id=sealer.key_id,
        )
        frame = struct.pack(">6I", 1, 1, *_SALTS, index, 1) + os.urandom(PAGE)
        content = segments.encode(header, frame, sealer, keyring.hash_key)
        store.create(segments.name_of(generation, index), (content,))
        previous = content[-32:].hex()
    return generation


def make_logged_stand(root: Path, keyring: Keyring, units: int) -> Stand:
    """Four full backups: one leads into a generation that ended, two into the next, one into the live one.

    Of the two the later is pinned. Whoever keeps that and the newest keeps segments 4 to 6 of the second generation, and 3
    and 4 of the third.
    """
    database, store = root / "gym.db", DirectoryStore(root / "store", make=True)
    database.write_bytes(os.urandom(units * PAGE))
    links: list[Manifest] = []
    for sequence, count, places in ((1, 3, (0,)), (2, 6, (0, 3)), (3, 4, (2,))):
        generation = ship(store, sequence, count)
        for place in places:
            made = run_backup(
                ENGINE,
                str(database),
                store,
                kind="full",
                keyring=keyring,
                log=lambda at=(generation, place): at,  # type: ignore[misc]
                demonstration=True,
            )
            links.append(made)
    marks.pin(store, links[2].id, pinned=True, at=rfc3339(SYSTEM.now()))
    return Stand(root, tuple(links), (database.read_bytes(),) * 4, keyring)
