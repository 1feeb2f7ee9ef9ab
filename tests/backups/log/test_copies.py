"""A log shipped to two stores: one goes away and comes back, and in the end each of them can restore everything alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.backup import run_backup
from backups.clock import SYSTEM
from backups.errors import StoreError
from backups.log import copies, replay, segments
from backups.log.copies import Copies
from backups.log.points import Newest
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from backups.stores.mirrored import MirroredStore
from tests.backups import databases
from tests.backups.shipping import POSITION_OF, Stage, sequences

pytestmark = pytest.mark.processes


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage.make(tmp_path / "stage")
    (stage.root / "far").mkdir()
    yield stage
    stage.close()


def watch(stage: Stage) -> None:
    stage.watch("--checkpoint-mb", "0.2", "--store", str(stage.root / "far"))


def told(stage: Stage, event: str, count: int = 1) -> None:
    databases.wait_until(lambda: len(stage.events(event)) >= count, event, 40)


def from_far_alone(stage: Stage) -> Path:
    store = DirectoryStore(stage.root / "far")
    into = stage.root / "from-far.db"
    replay.rebuild(store, replay.plan(store, Newest()), into, None)
    return into


def test_both_stores_can_restore_all_of_it(stage: Stage) -> None:
    watch(stage)
    stage.until_restorable()
    with stage.writing():
        databases.wait_until(lambda: stage.ship()[1] > 20, "twenty segments")
    stage.end_watch()
    assert from_far_alone(stage).read_bytes() == stage.replayed().read_bytes() == stage.truth()
    assert stage.events("copies away") == []


def test_one_that_goes_away_holds_up_nobody_and_is_shipped_to_again_when_it_is_back(stage: Stage) -> None:
    watch(stage)
    stage.until_restorable()
    far, lost = stage.root / "far", stage.root / "lost"
    with stage.writing(0.002):
        far.rename(lost)
        far.touch()
        told(stage, "copies away")
        at = stage.ship()[1]
        databases.wait_until(lambda: stage.ship()[1] > at + 20, "the other store goes on")
        run_backup(SqliteEngine(position_of=POSITION_OF), str(stage.database), stage.store, demonstration=True)
        far.unlink()
        lost.rename(far)
        told(stage, "copies back")
        at = stage.ship()[1]
        databases.wait_until(lambda: stage.ship()[1] > at + 20, "both go on")
    stage.end_watch()
    newest = from_far_alone(stage)
    assert newest.read_bytes() == stage.truth()
    assert sequences(newest) == list(range(1, len(sequences(newest)) + 1))
    here, there = ({one.name for one in DirectoryStore(stage.root / at).list()} for at in ("store", "far"))
    assert here == there


def test_what_was_missed_while_nobody_shipped_leaves_no_gap(stage: Stage) -> None:
    """The process ends while a store is away, and the next one finds it there, a piece of the log short."""
    watch(stage)
    stage.until_restorable()
    far, lost = stage.root / "far", stage.root / "lost"
    with stage.writing(0.002):
        far.rename(lost)
        far.touch()
        told(stage, "copies away")
        at = stage.ship()[1]
        databases.wait_until(lambda: stage.ship()[1] > at + 5, "the other store goes on")
        stage.kill_watch()
        far.unlink()
        lost.rename(far)
        watch(stage)
        told(stage, "copies away", 2)
        told(stage, "copies back")
    assert "lacks" in str(stage.events("copies away")[1]["why"])
    stage.end_watch()
    assert from_far_alone(stage).read_bytes() == stage.truth()


def test_one_that_fails_in_the_moment_it_comes_back_stays_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(DirectoryStore):
        full = False

        def create(self, name: str, chunks: object) -> int:
            if self.full:
                raise StoreError(f"{self.address} takes nothing.")
            return super().create(name, chunks)  # type: ignore[arg-type]

    near, far = Full(tmp_path / "near", make=True), Full(tmp_path / "far", make=True)
    near.create(f"{segments.PREFIX}000001-a/0000000001", (b"a segment",))
    monkeypatch.setattr(copies, "LOOK_EVERY_S", 0.0)
    said: list[str] = []
    far.full = True
    mirror = MirroredStore([near, far])
    tended = Copies(mirror, lambda: MirroredStore([near, far]), lambda event, **_: said.append(event), SYSTEM)
    tended.begin()
    tended.tell()
    assert list(mirror.away) == [far.address]

    def tend() -> bool:
        tended.tend()
        return "copies back" in said

    for _ in range(20):
        databases.wait_until(lambda: tend() or tended._thread is None, "a look")
    assert said == ["copies away"]
    far.full = False
    databases.wait_until(tend, "the store is back")
    assert list(mirror.away) == []
    assert far.list() == near.list()
