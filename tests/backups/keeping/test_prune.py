"""Pruning: two phases, alone, and whole again after a kill at any step."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from backups.backup import run_backup
from backups.clock import SYSTEM, Clock
from backups.errors import ClockJumped, Locked, StoreError
from backups.format import marks
from backups.format.manifest import Manifest
from backups.keeping import catalogue as catalogues
from backups.keeping.prune import GRACE, prune
from backups.keeping.retention import Policy
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from backups.stores.mirrored import Absent, MirroredStore
from backups.verify import verify
from tests.backups import databases

LEAN = Policy(recent_hours=0, daily=1, weekly=1, monthly=1, verified=1)


def later(hours: float) -> Clock:
    return Clock(now=lambda: SYSTEM.now() + timedelta(hours=hours), monotonic=SYSTEM.monotonic)


@pytest.fixture
def chain(engine: SqliteEngine, database: Path, store: DirectoryStore) -> list[Manifest]:
    """A full backup, an increment on it, and another full one, which alone is kept by the lean policy."""
    made = []
    for kind in ("full", "incr", "full"):
        made.append(run_backup(engine, str(database), store, kind=kind, demonstration=True))
        databases.write(database, 3)
    return made


def listed(store: DirectoryStore) -> list[str]:
    return [entry.id for entry in catalogues.read(store).entries]


def test_a_backup_is_marked_first_and_deleted_after_the_grace(chain: list[Manifest], store: DirectoryStore) -> None:
    first, second, third = (manifest.id for manifest in chain)
    marked = prune(store, LEAN)
    assert (marked.marked, marked.deleted) == ((first, second), ())
    assert [entry.state for entry in catalogues.read(store).entries] == ["expired", "expired", "complete"]
    assert prune(store, LEAN, clock=later(23)).deleted == ()
    assert prune(store, LEAN, clock=later(25)).deleted == (second, first)
    assert listed(store) == [third]
    assert {stored.name.split("/")[1] for stored in store.list("objects/")} == {third}
    assert verify(store, third).ok


def test_a_pin_takes_the_mark_back(chain: list[Manifest], store: DirectoryStore) -> None:
    """With what the pinned one builds on."""
    first, second, _ = (manifest.id for manifest in chain)
    prune(store, LEAN)
    marks.pin(store, second, pinned=True, at="2026-11-23T00:00:00Z")
    assert prune(store, LEAN, clock=later(25)).unmarked == (first, second)
    assert not any(entry.expired for entry in catalogues.read(store).entries)


def test_a_dry_run_changes_nothing_and_says_what_would_be_done(chain: list[Manifest], store: DirectoryStore) -> None:
    before = store.list()
    said = prune(store, LEAN, dry_run=True)
    assert said.marked == (chain[0].id, chain[1].id)
    assert all(one.reason for one in said.decisions)
    assert store.list() == before


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(12))
def test_killed_at_any_deletion_the_next_run_ends_it(
    chain: list[Manifest], store: DirectoryStore, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prune(store, LEAN)
    honest, left = DirectoryStore.delete, [step]

    def dying(self: DirectoryStore, name: str) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        honest(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryStore, "delete", dying)
        with suppress(Killed):
            prune(store, LEAN, clock=later(25))
    for entry in catalogues.read(store).entries:
        assert entry.expired or entry.id == chain[2].id
    assert verify(store, chain[2].id).ok
    prune(store, LEAN, clock=later(25))
    prune(store, LEAN, clock=later(25))
    assert listed(store) == [chain[2].id]
    assert {stored.name.split("/")[1].split(".")[0] for stored in store.list()} == {chain[2].id}


def test_nothing_is_deleted_under_a_reader_or_beside_a_writer(chain: list[Manifest], store: DirectoryStore) -> None:
    assert chain
    for held in (store.shared("restore"), store.exclusive("backup")):
        with held, pytest.raises(Locked):
            prune(store, LEAN)
    assert not marks.expirations(store)


def test_nothing_is_deleted_while_a_store_is_away(chain: list[Manifest], store: DirectoryStore) -> None:
    assert chain
    with pytest.raises(StoreError, match="a store is away"):
        prune(MirroredStore([store, Absent("/gone", "There is no store at /gone.")]), LEAN)


def test_nothing_is_deleted_when_the_clock_jumped(chain: list[Manifest], store: DirectoryStore) -> None:
    assert chain
    with pytest.raises(ClockJumped):
        prune(store, LEAN, clock=later(-36))
    assert not marks.expirations(store)


def test_a_mark_that_cannot_be_read_is_as_new_as_can_be(chain: list[Manifest], store: DirectoryStore) -> None:
    store.create(marks.expired_name(chain[0].id), (b"not JSON",))
    assert prune(store, LEAN, clock=later(24 * 365)).deleted == ()


def test_the_grace_is_a_day() -> None:
    assert timedelta(days=1) == GRACE
    assert dataclasses.asdict(Policy()) == {"recent_hours": 48, "daily": 7, "weekly": 5, "monthly": 12, "verified": 3}
