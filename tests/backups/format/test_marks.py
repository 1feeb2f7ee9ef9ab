"""Pins and the first phase of deleting, as the catalogue shows them."""

from __future__ import annotations

from backups.format import marks
from backups.keeping import catalogue
from tests.backups.house import House


def test_the_latest_word_about_keeping_speaks(house: House) -> None:
    assert not catalogue.read(house.store).find(house.newer.id).pinned
    first = marks.pin(house.store, house.newer.id, pinned=True, at="noon", why="before the migration")
    assert first == f"manifests/{house.newer.id}.pinned-0001.json"
    assert catalogue.read(house.store).find(house.newer.id).pinned
    marks.pin(house.store, house.newer.id, pinned=False, at="evening")
    assert not catalogue.read(house.store).find(house.newer.id).pinned
    assert not catalogue.read(house.store).find(house.older.id).pinned


def test_a_pin_that_cannot_be_read_keeps(house: House) -> None:
    house.store.create(f"manifests/{house.newer.id}.pinned-0001.json", (b"{",))
    assert catalogue.read(house.store).find(house.newer.id).pinned


def test_an_expired_backup_is_listed_as_such_and_not_built_on(house: House) -> None:
    house.store.create(f"manifests/{house.newer.id}.expired.json", (b"{}",))
    entry = catalogue.read(house.store).find(house.newer.id)
    assert (entry.expired, entry.state, entry.fault) == (True, "expired", "")


def test_what_lies_without_a_manifest_is_staging_and_no_backup(house: House) -> None:
    house.manifest_of(house.newer).unlink()
    listed = catalogue.read(house.store)
    assert [entry.id for entry in listed.entries] == [house.older.id]
    assert listed.staging == (house.newer.id,)
