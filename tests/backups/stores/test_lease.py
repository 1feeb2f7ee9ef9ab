"""Leases: one holder at a time, the dead block nobody, and who lost one is told."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from backups.errors import Locked, NameTaken, ObjectMissing, StoreError
from backups.stores import lease
from backups.stores.lease import LOCK, READERS, Leased, Seen


class Shelf:
    """Cells in memory, with a clock of their own that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, tzinfo=UTC)
        self.cells: dict[str, Seen] = {}
        self.versions = 0
        self.read_only = False
        self.replaced = threading.Event()

    def look(self, name: str) -> Seen:
        if name not in self.cells:
            raise ObjectMissing(name)
        return self.cells[name]

    def put_new(self, name: str, content: bytes) -> Seen:
        if self.read_only:
            raise StoreError("read-only")
        if name in self.cells:
            raise NameTaken(name)
        return self._put(name, content)

    def replace(self, name: str, content: bytes, version: str) -> Seen:
        if name not in self.cells or self.cells[name].version != version:
            raise NameTaken(name)
        seen = self._put(name, content)
        self.replaced.set()
        return seen

    def remove(self, name: str) -> None:
        self.cells.pop(name, None)

    def names(self, prefix: str) -> tuple[str, ...]:
        return tuple(name for name in self.cells if name.startswith(prefix))

    def _put(self, name: str, content: bytes) -> Seen:
        self.versions += 1
        self.cells[name] = Seen(content, str(self.versions), self.now)
        return self.cells[name]


def of_another_machine(purpose: str, fence: int = 4) -> bytes:
    return msgspec.json.encode(
        Leased(
            pid=7, started=1, host="elsewhere", boot="another", since="then", purpose=purpose, token="t", fence=fence
        )
    )


def test_a_holder_elsewhere_is_believed_until_its_lease_is_over_by_the_stores_clock() -> None:
    shelf = Shelf()
    shelf.put_new(LOCK, of_another_machine("backup"))
    shelf.now += timedelta(seconds=29)
    with (
        pytest.raises(Locked, match=r"process 7 on elsewhere, since then \(backup\)"),
        lease.hold(shelf, "s3", "prune"),
    ):
        pass
    shelf.now += timedelta(seconds=2)
    with lease.hold(shelf, "s3", "prune"):
        assert msgspec.json.decode(shelf.cells[LOCK].content, type=Leased).fence == 5
    assert shelf.cells == {}


def test_a_lease_is_renewed_while_it_is_held() -> None:
    shelf = Shelf()
    with lease.hold(shelf, "s3", "backup", lease_s=0.03):
        assert shelf.replaced.wait(10)
        assert msgspec.json.decode(shelf.cells[LOCK].content, type=Leased).renewals >= 1
    assert shelf.cells == {}


def test_who_lost_the_lock_is_told_at_the_end_and_leaves_the_new_one_alone() -> None:
    shelf = Shelf()

    def taken_over() -> None:
        shelf.remove(LOCK)
        shelf.put_new(LOCK, of_another_machine("prune"))
        next(thread for thread in threading.enumerate() if thread.name == "lease").join(10)

    with pytest.raises(Locked, match="was lost to somebody else"), lease.hold(shelf, "s3", "backup", lease_s=0.03):
        taken_over()
    assert shelf.cells[LOCK].content == of_another_machine("prune")


def test_a_lock_that_cannot_be_read_is_waited_out() -> None:
    shelf = Shelf()
    shelf.put_new(LOCK, b"not a lease")
    with pytest.raises(Locked, match="another process"), lease.hold(shelf, "s3", "backup"):
        pass
    shelf.now += timedelta(seconds=31)
    with lease.hold(shelf, "s3", "backup"):
        pass


def test_a_dead_reader_does_not_keep_deletion_out() -> None:
    shelf = Shelf()
    shelf.put_new(f"{READERS}t", of_another_machine("restore"))
    with pytest.raises(Locked, match="being read by process 7"), lease.hold(shelf, "s3", "prune", alone=True):
        pass
    shelf.now += timedelta(seconds=31)
    with lease.hold(shelf, "s3", "prune", alone=True):
        pass
    assert shelf.cells == {}


def test_reading_from_a_store_that_cannot_be_written_to_needs_no_lease() -> None:
    shelf = Shelf()
    shelf.read_only = True
    with lease.reading(shelf, "restore"):
        assert shelf.cells == {}
