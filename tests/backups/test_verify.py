"""Proving backups: every kind of damage is an answer, and is remembered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from backups.errors import NoSpace, NoSuchBackup
from backups.format import manifest as manifests
from backups.format.verification import Verification
from backups.keeping import catalogue
from backups.verify import verify
from tests.backups import databases
from tests.backups.house import House
from tests.backups.memory_store import MemoryStore

pytestmark = pytest.mark.processes


def test_a_good_backup_is_found_good_and_listed_as_verified(house: House) -> None:
    outcome = verify(house.store)
    assert (outcome.backup, outcome.ok, outcome.findings) == (house.newer.id, True, ())
    assert outcome.read_bytes == house.newer.stored_bytes
    assert [entry.state for entry in catalogue.read(house.store).entries] == ["complete", "verified"]


def test_every_look_is_recorded_beside_the_manifest_and_none_is_changed(house: House) -> None:
    first = verify(house.store, house.older.id)
    names = {stored.name for stored in house.store.list("manifests/")}
    second = verify(house.store, house.older.id)
    added = {stored.name for stored in house.store.list("manifests/")} - names
    assert added == {f"manifests/{house.older.id}.verified-0002.json"}
    assert catalogue.read(house.store).find(house.older.id).verifications == (first, second)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _padded(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def _zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _flipped_first(path: Path) -> None:
    databases.flip(path, 0)


def _flipped_middle(path: Path) -> None:
    databases.flip(path, path.stat().st_size // 2, 0x10)


def _flipped_last(path: Path) -> None:
    databases.flip(path, path.stat().st_size - 1, 0x80)


@pytest.mark.parametrize(
    "damage", [Path.unlink, _cut, _padded, _zeroed, _flipped_first, _flipped_middle, _flipped_last]
)
def test_a_damaged_object_is_found_bad_and_named(house: House, damage: Callable[[Path], None]) -> None:
    damage(house.object_of(house.newer))
    outcome = verify(house.store)
    assert not outcome.ok
    assert house.newer.packs[0].name in " ".join(outcome.findings)
    assert catalogue.read(house.store).find(house.newer.id).state == "suspect"
    assert catalogue.read(house.store).find(house.older.id).state == "complete"


def test_an_object_exchanged_for_another_backups_is_found_bad(house: House) -> None:
    house.object_of(house.newer).write_bytes(house.object_of(house.older).read_bytes())
    assert not verify(house.store).ok


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"not JSON", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"", "is not JSON"),
        (b"[]", "is not a manifest"),
        (b'{"format": 2}', "is not a manifest"),
        (b'{"format": 1, "id": "whatever"}', "format 1, which was never released"),
        (b'{"format": 3, "id": "whatever"}', "format 3, newer than the 2"),
    ],
)
def test_an_unreadable_manifest_makes_a_bad_backup(house: House, content: bytes, why: str) -> None:
    house.manifest_of(house.newer).write_bytes(content)
    outcome = verify(house.store)
    assert (outcome.backup, outcome.ok) == (house.newer.id, False)
    assert why in outcome.findings[0]


def test_a_backup_repaired_after_a_failed_look_is_good_after_the_next(house: House) -> None:
    path = house.object_of(house.newer)
    whole = path.read_bytes()
    _flipped_middle(path)
    assert not verify(house.store).ok
    path.write_bytes(whole)
    assert catalogue.read(house.store).find(house.newer.id).state == "suspect"
    assert verify(house.store).ok
    assert catalogue.read(house.store).find(house.newer.id).state == "verified"


def test_a_record_that_cannot_be_read_proves_nothing(house: House) -> None:
    house.store.create(f"manifests/{house.newer.id}.verified-0001.json", (b"{",))
    assert catalogue.read(house.store).find(house.newer.id).state == "complete"
    verify(house.store)
    assert house.store.size(f"manifests/{house.newer.id}.verified-0002.json")


def test_an_unknown_backup_and_an_empty_store_are_said(house: House) -> None:
    with pytest.raises(NoSuchBackup, match="There is no backup nope"):
        verify(house.store, "nope")
    with pytest.raises(NoSuchBackup, match="holds no backup yet"):
        verify(MemoryStore())


def test_no_room_for_a_look_is_no_verdict(house: House) -> None:
    with pytest.raises(NoSpace, match="There is no room for a look"):
        verify(house.store, free_bytes=lambda _: 0)
    assert catalogue.read(house.store).find(house.newer.id).state == "complete"


def test_two_looks_at_once_both_stay(house: House) -> None:
    class Crowded(MemoryStore):
        def list(self, prefix: str = "") -> tuple:  # type: ignore[type-arg]
            return () if prefix.endswith("verified-") else super().list(prefix)

    from backups.format import verification

    store = Crowded()
    look = Verification(backup="b", level=4, ok=True, findings=(), at="", seconds=0, read_bytes=0, host="")
    names = [verification.append(store, look), verification.append(store, look)]
    assert names == ["manifests/b.verified-0001.json", "manifests/b.verified-0002.json"]


def test_an_engine_not_known_here_is_a_finding(house: House) -> None:
    made = manifests.signed(msgspec.structs.replace(house.newer, engine="oracle"), lambda _: "")
    house.manifest_of(house.newer).write_bytes(manifests.encode(made))
    assert verify(house.store).findings == ("This version knows no engine oracle.",)
