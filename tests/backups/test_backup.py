"""Making backups: what holds after one, and that a failed one leaves nothing."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backups.backup import run_backup
from backups.clock import Clock
from backups.errors import DatabaseDamaged, Locked, NoSpace, NotADatabase, NotSeparate, StoreError
from backups.format import manifest
from backups.keeping import catalogue
from backups.sqlite.engine import SqliteEngine
from backups.stores import store as stores
from backups.stores.directory import DirectoryStore
from tests.backups import databases
from tests.backups.house import House
from tests.backups.memory_store import MemoryStore


def test_a_backup_is_listed_complete_with_what_it_holds(engine: SqliteEngine, database: Path) -> None:
    store = MemoryStore()
    made = run_backup(engine, f"sqlite:///{database}", store)
    (entry,) = catalogue.read(store).entries
    assert entry.manifest == made
    assert entry.state == "complete"
    assert (made.facts.rows, made.facts.position, made.facts.revision) == (402, 200, "0002")
    assert sum(stored.size_bytes for stored in store.list("objects/")) == made.stored_bytes
    assert made.size_bytes == database.stat().st_size


def test_the_name_tells_the_time_the_order_and_the_kind(house: House) -> None:
    assert re.fullmatch(r"\d{8}T\d{6}Z-000002-full-sqlite-[0-9a-f]{4}", house.newer.id)
    assert (house.older.sequence, house.newer.sequence) == (1, 2)


def test_the_order_does_not_depend_on_the_clock(engine: SqliteEngine, database: Path) -> None:
    store = MemoryStore()
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    for instant in (noon, noon - timedelta(hours=36), noon + timedelta(hours=36)):
        run_backup(engine, str(database), store, clock=stopped_at(instant))
    entries = catalogue.read(store).entries
    assert [entry.sequence for entry in entries] == [1, 2, 3]
    assert [entry.id[:8] for entry in entries] == ["20261123", "20261122", "20261125"]


def stopped_at(instant: datetime) -> Clock:
    return Clock(now=lambda: instant, monotonic=lambda: 0.0)


def test_each_manifest_carries_the_hash_of_the_one_before(house: House) -> None:
    assert house.older.previous is None
    assert house.newer.previous is not None
    assert house.newer.previous.id == house.older.id
    older = stores.read(house.store, manifest.name_of(house.older.id))
    assert house.newer.previous.blake3 == manifest.fingerprint(older)


def test_what_is_only_in_the_log_is_in_the_backup(engine: SqliteEngine, database: Path) -> None:
    with databases.service(database, rows=40):
        made = run_backup(engine, str(database), MemoryStore())
    assert made.facts.position == 240
    assert made.facts.tables["notes"].rows == 240


def test_a_backup_of_a_crashed_database_does_not_write_to_it(engine: SqliteEngine, database: Path) -> None:
    databases.crash(database, rows=40)
    log = database.with_name("gym.db-wal")
    before = (database.read_bytes(), log.read_bytes())
    assert run_backup(engine, str(database), MemoryStore()).facts.position == 240
    assert (database.read_bytes(), log.read_bytes()) == before


def test_foreign_key_violations_are_told_and_do_not_forbid_a_backup(engine: SqliteEngine, database: Path) -> None:
    with databases.connect(database) as open_database:
        open_database.execute("INSERT INTO notes (operation, text) VALUES (999999, 'an orphan')")
    open_database.close()
    assert run_backup(engine, str(database), MemoryStore()).facts.foreign_key_violations == 1


def test_a_store_below_the_database_is_refused_unless_it_is_a_demonstration(
    engine: SqliteEngine, database: Path, store: DirectoryStore
) -> None:
    with pytest.raises(NotSeparate, match=r"one failure takes both.*--demo"):
        run_backup(engine, str(database), store)
    assert not Path(store.address).exists()
    run_backup(engine, str(database), store, demonstration=True)


def test_a_damaged_database_is_not_backed_up(engine: SqliteEngine, house: House) -> None:
    content = bytearray(house.database.read_bytes())
    content[4096 : 4096 * 3] = b"\xa5" * (4096 * 2)
    house.database.write_bytes(content)
    with pytest.raises(DatabaseDamaged, match=r"gym\.db is damaged"):
        run_backup(engine, str(house.database), house.store, demonstration=True)
    assert_nothing_new(house)


def test_an_emptied_database_is_not_backed_up(engine: SqliteEngine, house: House) -> None:
    house.database.write_bytes(b"")
    with pytest.raises(NotADatabase, match="is empty"):
        run_backup(engine, str(house.database), house.store, demonstration=True)
    assert_nothing_new(house)


def test_a_second_backup_at_once_is_told_who_is_at_work(engine: SqliteEngine, house: House) -> None:
    with house.store.exclusive("backup of gym.db"):
        with pytest.raises(Locked, match=rf"process {os.getpid()} on .*, since 20.*\(backup of gym\.db\)"):
            run_backup(engine, str(house.database), house.store, demonstration=True)
    assert_nothing_new(house)


def test_too_little_room_is_said_before_anything_is_written(engine: SqliteEngine, house: House) -> None:
    with pytest.raises(
        NoSpace, match=r"There is no room for a backup of .*gym\.db: it needs .* MB and .* has 0\.0 MB free"
    ):
        run_backup(engine, str(house.database), house.store, demonstration=True, free_bytes=lambda _: 1000)
    assert_nothing_new(house)


class FullStore(DirectoryStore):
    """A store whose disk runs full when the last byte of an object is written."""

    def __init__(self, root: Path, full_at: str) -> None:
        super().__init__(root)
        self.full_at = full_at

    def create(self, name: str, chunks: Iterable[bytes]) -> int:
        return super().create(name, self._until_full(name, chunks))

    def _until_full(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        yield from chunks
        if name.startswith(self.full_at):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("full_at", ["objects/", "manifests/"])
def test_a_disk_that_runs_full_on_the_way_leaves_nothing(engine: SqliteEngine, house: House, full_at: str) -> None:
    full = FullStore(Path(house.store.address), full_at)
    with pytest.raises(NoSpace, match="The disk is full"):
        run_backup(engine, str(house.database), full, demonstration=True)
    assert_nothing_new(house)


def test_a_store_that_cannot_be_written_is_said_in_one_sentence(engine: SqliteEngine, database: Path) -> None:
    """/proc stands for a store mounted read-only: not even root may create a file in it."""
    with pytest.raises(StoreError, match=r"^The lock /proc/\.lock cannot be taken: .*; check who owns that place\.$"):
        run_backup(engine, str(database), DirectoryStore(Path("/proc")))


def assert_nothing_new(house: House) -> None:
    """The two backups are listed as before, and no byte of a third is anywhere in the store."""
    listed = catalogue.read(house.store).entries
    assert [(entry.id, entry.state) for entry in listed] == [(house.older.id, "complete"), (house.newer.id, "complete")]
    assert len(house.store.list()) == 6
    staging = Path(house.store.address) / ".staging"
    assert not staging.exists() or list(staging.iterdir()) == []
