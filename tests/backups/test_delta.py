"""Repair in place: only what differs is fetched and overwritten, and the old pages are kept."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from backups import delta
from backups import swap as swaps
from backups.errors import BackupError, InUse, NoSpace, NothingToRestore
from backups.restore import plan_restore, restore
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from tests.backups import databases
from tests.backups.house import Chain


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the house catches it."""


def spoil(database: Path, *units: int) -> None:
    content = bytearray(database.read_bytes())
    for unit in units:
        content[unit * 4096 + 100 : unit * 4096 + 200] = os.urandom(100)
    database.write_bytes(content)


class Counting(DirectoryStore):
    """A directory store that knows what was fetched from it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.fetched_bytes = 0

    def fetch(self, name: str, offset: int, size: int) -> bytes:
        if "/pack-" in name:
            self.fetched_bytes += size
        return super().fetch(name, offset, size)


def test_a_spoilt_page_is_repaired_with_one_chunk(engine: SqliteEngine, chain: Chain) -> None:
    restore(engine, chain.store, str(chain.database))
    whole = chain.database.read_bytes()
    inode = chain.database.stat().st_ino
    spoil(chain.database, 20)
    spoilt = chain.database.read_bytes()
    store = Counting(Path(chain.store.address))
    result = restore(engine, store, str(chain.database), in_place=True)
    assert chain.database.read_bytes() == whole
    assert databases.contents(chain.database) == chain.states[2]
    assert chain.database.stat().st_ino == inode
    assert (result.in_place, result.why_whole, result.fetched_bytes) == (True, "", store.fetched_bytes)
    assert 0 < store.fetched_bytes < chain.links[0].packs[0].stored_bytes
    assert result.evidence is not None
    delta.unrepaired(chain.database, result.evidence, chain.database.with_name("old"))
    assert chain.database.with_name("old").read_bytes() == spoilt


@pytest.mark.parametrize("link", [0, 1, 2])
def test_any_link_may_be_gone_back_to(engine: SqliteEngine, chain: Chain, link: int) -> None:
    old = chain.database.read_bytes()
    result = restore(engine, chain.store, str(chain.database), backup=chain.links[link].id, in_place=True)
    assert databases.contents(chain.database) == chain.states[link]
    assert result.evidence is not None
    delta.unrepaired(chain.database, result.evidence, chain.database.with_name("old"))
    assert chain.database.with_name("old").read_bytes() == old


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-10_000]),
        lambda path: path.write_bytes(path.read_bytes() + os.urandom(10_000)),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(os.urandom(300_000)),
    ],
)
def test_a_file_of_another_length_becomes_the_image_too(
    engine: SqliteEngine, chain: Chain, change: Callable[[Path], None]
) -> None:
    change(chain.database)
    old = chain.database.read_bytes()
    result = restore(engine, chain.store, str(chain.database), in_place=True)
    assert databases.contents(chain.database) == chain.states[2]
    if result.evidence is not None:
        delta.unrepaired(chain.database, result.evidence, chain.database.with_name("old"))
        assert chain.database.with_name("old").read_bytes() == old


def test_the_old_logs_are_moved_to_the_evidence(engine: SqliteEngine, chain: Chain) -> None:
    databases.crash(chain.database, rows=50)
    log = chain.database.with_name("gym.db-wal").read_bytes()
    result = restore(engine, chain.store, str(chain.database), in_place=True)
    assert result.evidence is not None
    assert (result.evidence / "gym.db-wal").read_bytes() == log
    assert databases.contents(chain.database) == chain.states[2]
    assert sorted(path.name for path in chain.database.parent.iterdir()) == ["gym.db", result.evidence.name, "store"]


def test_what_differs_in_nothing_is_left_alone(engine: SqliteEngine, chain: Chain) -> None:
    restore(engine, chain.store, str(chain.database))
    before = chain.database.stat().st_mtime_ns, chain.database.read_bytes()
    result = restore(engine, chain.store, str(chain.database), in_place=True)
    assert result.fetched_bytes == 0
    assert chain.database.read_bytes() == before[1]


def test_a_running_service_is_not_repaired_under_its_feet(engine: SqliteEngine, chain: Chain) -> None:
    with databases.service(chain.database, rows=3) as service:
        before = chain.database.read_bytes()
        with pytest.raises(InUse, match=str(service.pid)):
            restore(engine, chain.store, str(chain.database), in_place=True)
        assert chain.database.read_bytes() == before


def test_the_fence_comes_before_the_comparison(engine: SqliteEngine, chain: Chain) -> None:
    with databases.service(chain.database, rows=3) as service:

        def fence() -> None:
            service.kill()
            service.wait()

        restore(engine, chain.store, str(chain.database), fence=fence, in_place=True)
    assert databases.contents(chain.database) == chain.states[2]


def test_a_missing_file_is_built_anew_and_the_reason_told(engine: SqliteEngine, chain: Chain) -> None:
    chain.database.unlink()
    result = restore(engine, chain.store, str(chain.database), in_place=True)
    assert (result.in_place, result.why_whole) == (False, f"There is no file {chain.database} to repair.")
    assert databases.contents(chain.database) == chain.states[2]


def test_a_file_with_two_names_is_not_changed_under_the_other(engine: SqliteEngine, chain: Chain) -> None:
    other = chain.database.with_name("other name")
    other.hardlink_to(chain.database)
    before = other.read_bytes()
    result = restore(engine, chain.store, str(chain.database), in_place=True)
    assert "has another name" in result.why_whole
    assert other.read_bytes() == before


def test_a_backup_that_turns_out_bad_is_passed_over_before_anything_is_touched(
    engine: SqliteEngine, chain: Chain
) -> None:
    databases.flip(chain.path_of(chain.links[2].packs[0].name), 60)
    result = restore(engine, chain.store, str(chain.database), in_place=True)
    assert result.backup == chain.links[1].id
    assert databases.contents(chain.database) == chain.states[1]


def test_with_every_backup_bad_the_file_is_left_alone(engine: SqliteEngine, chain: Chain) -> None:
    spoil(chain.database, *range(5, 40))
    for link in chain.links:
        for offset in range(0, link.packs[0].stored_bytes, 500):
            databases.flip(chain.path_of(link.packs[0].name), offset)
    before = chain.database.read_bytes()
    with pytest.raises(NothingToRestore):
        restore(engine, chain.store, str(chain.database), in_place=True)
    assert chain.database.read_bytes() == before
    assert sorted(path.name for path in chain.database.parent.iterdir()) == ["gym.db", "store"]


@pytest.mark.parametrize("last", ["kept gym.db-wal", "overwritten"])
@pytest.mark.parametrize("then_in_place", [True, False])
def test_a_repair_killed_half_way_is_made_good_by_any_restore(
    engine: SqliteEngine, chain: Chain, monkeypatch: pytest.MonkeyPatch, last: str, then_in_place: bool
) -> None:
    databases.crash(chain.database, rows=50)
    old = chain.database.read_bytes()
    log = chain.database.with_name("gym.db-wal").read_bytes()
    honest = delta.exchange

    def die_after(step: str) -> None:
        if step == last:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(delta, "exchange", functools.partial(honest, after_step=die_after))
        with pytest.raises(Killed):
            restore(engine, chain.store, str(chain.database), backup=chain.links[0].id, in_place=True)
    marked = swaps.interrupted(chain.database)
    assert marked is not None
    assert (marked.touched, marked.in_place) == (True, True)

    result = restore(engine, chain.store, str(chain.database), in_place=then_in_place)
    assert result.evidence == Path(marked.evidence)
    assert databases.contents(chain.database) == chain.states[2]
    assert swaps.interrupted(chain.database) is None
    assert (result.evidence / "gym.db-wal").read_bytes() == log
    if then_in_place:
        delta.unrepaired(chain.database, result.evidence, chain.database.with_name("old"))
        assert chain.database.with_name("old").read_bytes() == old


def test_an_exchange_killed_with_the_file_in_the_evidence_is_not_continued_in_place(
    engine: SqliteEngine, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main file is linked into the evidence by then: overwriting it would overwrite the evidence."""
    old = chain.database.read_bytes()
    honest = swaps.exchange

    def die_after(step: str) -> None:
        if step == "kept gym.db":
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(swaps, "exchange", lambda swap: honest(swap, die_after))
        with pytest.raises(Killed):
            restore(engine, chain.store, str(chain.database))
    result = restore(engine, chain.store, str(chain.database), in_place=True)
    assert not result.in_place
    assert result.evidence is not None
    assert (result.evidence / "gym.db").read_bytes() == old


def test_a_disk_that_does_not_keep_what_is_written_is_found_out(
    engine: SqliteEngine, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta, "_overwrite", lambda *_: None)
    with pytest.raises(BackupError, match=r"is not its image: unit \d+ differs, so the disk does not keep"):
        restore(engine, chain.store, str(chain.database), in_place=True)
    marked = swaps.interrupted(chain.database)
    assert marked is not None
    assert marked.touched


def test_a_disk_that_fails_half_way_is_said_and_restoring_again_helps(
    engine: SqliteEngine, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(delta, "_overwrite", fail)
        with pytest.raises(BackupError, match=r"stopped half-way \(Input/output error\)"):
            restore(engine, chain.store, str(chain.database), in_place=True)
    marked = swaps.interrupted(chain.database)
    assert marked is not None
    assert marked.touched
    restore(engine, chain.store, str(chain.database), in_place=True)
    assert databases.contents(chain.database) == chain.states[2]


def test_no_room_for_the_evidence_leaves_everything_as_it_was(engine: SqliteEngine, chain: Chain) -> None:
    before = chain.database.read_bytes()
    with pytest.raises(NoSpace, match="There is no room for a restore"):
        restore(engine, chain.store, str(chain.database), in_place=True, free_bytes=lambda _: 5)
    assert chain.database.read_bytes() == before
    assert sorted(path.name for path in chain.database.parent.iterdir()) == ["gym.db", "store"]


def test_a_disk_that_runs_full_while_keeping_leaves_everything_as_it_was(
    engine: SqliteEngine, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = chain.database.read_bytes()
    monkeypatch.setattr(delta, "_copy_runs", full)
    with pytest.raises(NoSpace):
        restore(engine, chain.store, str(chain.database), in_place=True)
    assert chain.database.read_bytes() == before
    assert sorted(path.name for path in chain.database.parent.iterdir()) == ["gym.db", "store"]


def test_the_plan_says_what_will_be_overwritten(engine: SqliteEngine, chain: Chain) -> None:
    plan = plan_restore(engine, chain.store, str(chain.database), in_place=True)
    assert plan.chain == tuple(link.id for link in chain.links)
    assert any("overwrite those pages" in step for step in plan.steps)
    assert f"{chain.links[2].id} and the 2 it builds on" in " ".join(plan.steps)
