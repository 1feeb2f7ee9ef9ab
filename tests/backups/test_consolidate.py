"""Synthetic full backups: the image of the chain, verified before it has a name, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from backups.consolidate import consolidate
from backups.errors import Damaged, Locked, NoSpace, NoSuchBackup
from backups.keeping import catalogue
from backups.restore import restore
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from backups.verify import verify
from tests.backups import databases
from tests.backups.house import Chain

pytestmark = pytest.mark.processes


def assert_nothing_new(chain: Chain) -> None:
    listed = catalogue.read(chain.store)
    assert [entry.id for entry in listed.entries] == [link.id for link in chain.links]
    assert listed.staging == ()


def test_a_synthetic_full_is_the_image_of_its_chain_and_needs_it_no_more(engine: SqliteEngine, chain: Chain) -> None:
    made = consolidate(engine, chain.store, chain.links[1].id)
    source = chain.links[1]
    assert (made.kind, made.synthetic, made.parent, made.chain_length) == ("full", True, None, 0)
    assert (made.root, made.taken, made.taken_t, made.facts) == (
        source.root,
        source.taken,
        source.taken_t,
        source.facts,
    )
    assert made.stored_units == made.units
    for link in chain.links:
        for stored in link.objects:
            chain.path_of(stored.name).unlink()
    assert verify(chain.store, made.id).ok
    restore(engine, chain.store, str(chain.database), backup=made.id)
    assert databases.contents(chain.database) == chain.states[1]


def test_a_rotten_chain_is_not_put_together(engine: SqliteEngine, chain: Chain) -> None:
    databases.flip(chain.path_of(chain.links[1].packs[0].name), 40)
    with pytest.raises(Damaged, match=chain.links[1].packs[0].name):
        consolidate(engine, chain.store, chain.links[2].id)
    assert_nothing_new(chain)


class Rotting(DirectoryStore):
    """A store that changes one byte of every pack on its way to the disk."""

    def create(self, name: str, chunks: Iterable[bytes]) -> int:
        content = bytearray(b"".join(chunks))
        if "/pack-" in name:
            content[len(content) // 2] ^= 1
        return super().create(name, (bytes(content),))


def test_what_was_not_stored_well_gets_no_name(engine: SqliteEngine, chain: Chain) -> None:
    store = Rotting(Path(chain.store.address))
    with pytest.raises(Damaged, match=r"was not stored well: .*pack-0000 is not the bytes that were stored"):
        consolidate(engine, store, chain.links[2].id)
    assert_nothing_new(chain)


class Doubting(SqliteEngine):
    """An engine that finds fault with every copy."""

    def check(self, *_: object, **__: object) -> tuple[str, ...]:
        return ("Table notes is missing.",)


def test_an_image_that_its_engine_refuses_gets_no_name(chain: Chain) -> None:
    with pytest.raises(Damaged, match="does not hold what its manifest says: Table notes is missing"):
        consolidate(Doubting(), chain.store, chain.links[2].id)
    assert_nothing_new(chain)


def test_an_unknown_backup_a_full_disk_and_a_held_store_are_said(engine: SqliteEngine, chain: Chain) -> None:
    with pytest.raises(NoSuchBackup):
        consolidate(engine, chain.store, "nope")
    with pytest.raises(NoSpace, match="a synthetic full of"):
        consolidate(engine, chain.store, chain.links[2].id, free_bytes=lambda _: 5)
    with chain.store.exclusive("a backup"), pytest.raises(Locked, match="a backup"):
        consolidate(engine, chain.store, chain.links[2].id)
    assert_nothing_new(chain)
