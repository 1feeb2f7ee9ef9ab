"""Backups and restores done wrong on purpose: each must come out as exactly what it is."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from pysqlite3 import dbapi2 as sqlite

from backups import swap as swaps
from backups.backup import run_backup
from backups.consolidate import FileReading
from backups.engine import Base, Reading
from backups.errors import BackupError, NothingToRestore
from backups.format import manifest as manifests
from backups.format.manifest import Manifest
from backups.keeping import catalogue
from backups.progress import Progress, silent
from backups.restore import restore
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from backups.verify import verify
from tests.backups import databases
from tests.backups.house import House


class MainFileOnly(SqliteEngine):
    """Reads the main file and forgets the log, as so many scripts do."""

    @contextmanager
    def snapshot(self, database: Path, progress: Progress = silent, base: Base | None = None) -> Iterator[Reading]:
        copy = database.with_name("forgetful")
        subprocess.run(["cp", database, copy], check=True)
        with super().snapshot(database, progress, base) as honest:
            for _ in honest.blocks():
                pass
            units = copy.stat().st_size // honest.unit_bytes
            yield FileReading(copy, honest.unit_bytes, units, honest.taken_t, honest.facts())


def test_a_backup_of_the_main_file_alone_is_found_out(database: Path, store: DirectoryStore) -> None:
    """SQLite calls such a copy sound; the ten operations that were in the log are missing from it."""
    with databases.service(database, rows=10):
        made = run_backup(MainFileOnly(position_of="operations.sequence"), str(database), store, demonstration=True)
    outcome = verify(store)
    assert not outcome.ok
    assert "Table operations has 200 rows, and the manifest says 210." in outcome.findings
    assert "The position is 200, and the manifest says 210." in outcome.findings
    assert catalogue.read(store).find(made.id).state == "suspect"


def test_a_restore_refuses_such_a_backup_even_if_nobody_ever_verified_it(database: Path, store: DirectoryStore) -> None:
    with databases.service(database, rows=10):
        run_backup(MainFileOnly(), str(database), store, demonstration=True)
    now = databases.contents(database)
    with pytest.raises(NothingToRestore, match="Table operations has 200 rows, and the manifest says 210"):
        restore(SqliteEngine(), store, str(database))
    assert databases.contents(database) == now


def test_a_log_that_only_changed_rows_is_missed_by_nothing_but_the_pages(database: Path, store: DirectoryStore) -> None:
    """No row more, no row less, no new operation, not a page more: neither the facts nor SQLite tell it from a good copy."""
    with databases.service(database):
        with databases.connect(database) as other:
            other.execute("UPDATE notes SET extra = x'0000' WHERE id = 7")
        honest = run_backup(SqliteEngine(), str(database), store, kind="full", demonstration=True)
        forgetful = run_backup(MainFileOnly(), str(database), store, kind="full", demonstration=True)
        other.close()
    assert (honest.facts, honest.units) == (forgetful.facts, forgetful.units)
    assert honest.root != forgetful.root
    content = [verify(store, made.id).content["notes"] for made in (honest, forgetful)]
    assert content[0].rows == content[1].rows
    assert content[0].digest != content[1].digest


def test_an_old_log_left_in_place_makes_a_wrong_database_and_our_restore_removes_it(
    engine: SqliteEngine, house: House
) -> None:
    """The crash leaves a log; a plain copy over the main file gets that log replayed into it."""
    databases.crash(house.database, rows=400)
    naive = house.database.parent / "naive"
    naive.mkdir()
    for member in engine.members(house.database)[1:]:
        if member.exists():
            shutil.copy(member, naive / member.name)
    restore(engine, house.store, str(house.database))

    shutil.copy(house.database, naive / "gym.db")
    assert read_or_say(naive / "gym.db") != house.now

    assert not house.database.with_name("gym.db-wal").exists()
    assert databases.contents(house.database) == house.now


def test_a_restore_that_leaves_the_old_log_is_noticed_when_the_database_is_reopened(
    engine: SqliteEngine, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.crash(house.database, rows=400)
    monkeypatch.setattr(swaps, "_keep_evidence", lambda *_: None)
    with pytest.raises(BackupError, match=r"was restored from .* and does not open well"):
        restore(engine, house.store, str(house.database))


def test_a_manifest_changed_to_fit_a_worse_copy_shows_in_the_chain(house: House) -> None:
    worse = house.manifest_of(house.older).read_bytes().replace(b'"rows":200', b'"rows":199')
    forged = manifests.signed(msgspec.json.decode(worse, type=Manifest), lambda _: "")
    house.manifest_of(house.older).write_bytes(manifests.encode(forged))
    entry = catalogue.read(house.store).find(house.older.id)
    assert entry.state == "suspect"
    assert entry.fault == "Its manifest is not the one that the backup after it recorded."


def test_a_manifest_with_one_figure_changed_is_bad(house: House) -> None:
    path = house.manifest_of(house.newer)
    path.write_bytes(path.read_bytes().replace(b'"rows":230', b'"rows":231'))
    entry = catalogue.read(house.store).find(house.newer.id)
    assert entry.fault == "Its manifest is damaged: its checksum differs."


def test_a_manifest_copied_under_another_name_is_bad(house: House) -> None:
    house.manifest_of(house.newer).write_bytes(house.manifest_of(house.older).read_bytes())
    entry = catalogue.read(house.store).find(house.newer.id)
    assert entry.fault == f"Its manifest is that of another backup, {house.older.id}."


def read_or_say(path: Path) -> databases.Contents | str:
    try:
        return databases.contents(path)
    except sqlite.DatabaseError as error:
        return str(error)
