"""Pruning the shipped log: with the backups that lead into it, never before them, and never under a process that ships."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from backups.backup import run_backup
from backups.clock import SYSTEM, Clock, rfc3339
from backups.errors import Locked
from backups.format import marks
from backups.keeping import catalogue as catalogues
from backups.keeping.prune import Pruned, prune
from backups.keeping.retention import Policy
from backups.keys.keyring import Keyring
from backups.log import expiry, logbook
from backups.log import timeline as timelines
from backups.log.expiry import Cut
from backups.log.shipped import log_span
from backups.sqlite.engine import SqliteEngine
from ci.commands.backup import command
from tests.backups import databases
from tests.backups.light import Stand
from tests.backups.light_log import generation_of, make_logged_stand
from tests.backups.shipping import POSITION_OF, Stage, sequences

pytestmark = pytest.mark.processes

LEAN = Policy(recent_hours=0, daily=1, weekly=1, monthly=1, verified=1)
ONE, TWO, THREE = (generation_of(sequence) for sequence in (1, 2, 3))
GOING = (Cut(ONE), Cut(TWO, 4), Cut(THREE, 3))


def later(hours: float) -> Clock:
    return Clock(now=lambda: SYSTEM.now() + timedelta(hours=hours), monotonic=SYSTEM.monotonic)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return make_logged_stand(tmp_path, Keyring.plain(), units=10)


def left(stand: Stand) -> dict[int, tuple[int, ...]]:
    return {one.sequence: one.indexes for one in logbook.generations(stand.store)}


def test_log_is_marked_first_and_deleted_after_the_grace(stand: Stand) -> None:
    before = left(stand)
    marked = prune(stand.store, LEAN).log
    assert (marked.marked, marked.deleted) == (GOING, ())
    assert left(stand) == before
    assert prune(stand.store, LEAN, clock=later(23)).log.deleted == ()
    assert prune(stand.store, LEAN, clock=later(25)).log.deleted == GOING
    assert left(stand) == {2: (4, 5, 6), 3: (3, 4)}
    assert expiry.marked(stand.store) == {}
    assert {stored.name.split("/")[1] for stored in stand.store.list("log/")} == {TWO, THREE}


def test_what_is_kept_leads_where_it_did_before(stand: Stand) -> None:
    kept = {stand.links[2].id, stand.links[3].id}
    before = [span for span in timelines.read(stand.store, prove=True).spans if kept & {*span.backups}]
    prune(stand.store, LEAN)
    prune(stand.store, LEAN, clock=later(25))
    after = timelines.read(stand.store, prove=True).spans
    assert [span.ends for span in after] == [span.ends for span in before]
    assert [span.fault for span in after] == ["", ""]


def test_a_pin_takes_the_mark_of_its_log_back(stand: Stand) -> None:
    prune(stand.store, LEAN)
    marks.pin(stand.store, stand.links[0].id, pinned=True, at="2026-11-23T00:00:00Z")
    marks.pin(stand.store, stand.links[1].id, pinned=True, at="2026-11-23T00:00:00Z")
    again = prune(stand.store, LEAN, clock=later(25)).log
    assert (again.unmarked, again.deleted) == (GOING[:2], GOING[2:])
    assert left(stand) == {1: (1, 2, 3), 2: (1, 2, 3, 4, 5, 6), 3: (3, 4)}


def test_log_stays_while_a_backup_that_leads_into_it_is_there(stand: Stand) -> None:
    """Its mark is older than that of the backup, which was pinned meanwhile and is no more."""
    for cut in GOING:
        expiry.mark(stand.store, cut, at=rfc3339(SYSTEM.now() - timedelta(hours=48)))
    pruned = prune(stand.store, LEAN)
    assert (pruned.deleted, pruned.log.deleted) == ((), GOING[2:])
    assert left(stand)[1] == (1, 2, 3)


def test_a_dry_run_says_what_would_go_and_changes_nothing(stand: Stand) -> None:
    before = stand.store.list()
    said = prune(stand.store, LEAN, dry_run=True).log
    assert [(str(one.cut), one.keep, one.segments) for one in said.decisions] == [
        (ONE, False, 3),
        (f"{TWO} below 4", False, 3),
        (TWO, True, 3),
        (f"{THREE} below 3", False, 2),
        (THREE, True, 2),
    ]
    assert stand.store.list() == before
    options = ["--recent", "0", "--daily", "1", "--weekly", "1", "--monthly", "1", "--verified", "1"]
    address = str(stand.root / "store")
    told = CliRunner().invoke(command, ["prune", "--store", address, "--dry-run", *options]).output
    assert f"{TWO} below 4" in told
    assert "no kept backup reaches back so far" in told
    assert stand.store.list() == before


def test_a_mark_that_cannot_be_read_is_as_new_as_can_be(stand: Stand) -> None:
    for cut in GOING:
        stand.store.create(cut.mark, (b"not JSON",))
    prune(stand.store, LEAN)
    assert prune(stand.store, LEAN, clock=later(24 * 365)).log.deleted == ()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage.make(tmp_path / "stage")
    yield stage
    stage.close()


def back_up(stage: Stage) -> str:
    engine, at = SqliteEngine(position_of=POSITION_OF), log_span(stage.socket)
    made = run_backup(engine, str(stage.database), stage.store, kind="full", log=at, demonstration=True)
    return made.id


def pruned_at_once(stage: Stage) -> Pruned:
    """Marked, and deleted a moment later."""
    prune(stage.store, LEAN, grace=timedelta(0))
    return prune(stage.store, LEAN, grace=timedelta(0))


def shipped_past(stage: Stage, index: int) -> bool:
    return stage.ship()[1] > index


def test_whoever_ships_is_not_disturbed_by_it_nor_when_it_is_started_again(stage: Stage) -> None:
    stage.watch("--checkpoint-mb", "0.2")
    stage.until_restorable()
    deleted = 0
    with stage.writing(0.002):
        for _ in range(4):
            shipped = stage.ship()[1]
            databases.wait_until(partial(shipped_past, stage, shipped + 5), "more log")
            back_up(stage)
            deleted += len(pruned_at_once(stage).log.deleted)
            stage.kill_watch()
            pruned_at_once(stage)
            stage.watch("--checkpoint-mb", "0.2")
            stage.until_restorable()
        # While nobody watched, the log may have been begun anew: that gap goes with the backup before it.
        back_up(stage)
        pruned_at_once(stage)
    stage.end_watch()
    assert deleted >= 3
    (span,) = timelines.read(stage.store, prove=True).spans
    assert len(span.backups) == 1
    for begun in stage.events("generation begun")[1:]:
        assert begun["why"] == "The log was begun anew while nobody watched it."
    assert stage.events("cannot ship") == []
    newest = stage.replayed()
    assert newest.read_bytes() == stage.truth()
    assert sequences(newest) == list(range(1, len(sequences(newest)) + 1))


def test_it_waits_for_a_restore_and_a_base_under_way(stage: Stage) -> None:
    with stage.store.shared("restore"), pytest.raises(Locked):
        pruned_at_once(stage)
    with stage.store.exclusive("backup"), pytest.raises(Locked):
        pruned_at_once(stage)


def test_without_a_backup_of_its_own_the_live_log_stays(stage: Stage) -> None:
    stage.watch()
    stage.until_restorable()
    (made,) = catalogues.read(stage.store).entries
    run_backup(SqliteEngine(), str(stage.database), stage.store, kind="full", demonstration=True)
    time.sleep(0.01)
    pruned = pruned_at_once(stage)
    assert (pruned.marked, pruned.log.deleted) == ((), ())
    assert made.id in {one.id for one in pruned.decisions if one.keep}
    stage.end_watch()
