"""Replay over a backup: every point exactly or not at all, and whatever is wrong with the log is found and told."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backups.backup import run_backup
from backups.clock import parse
from backups.errors import Damaged, NothingToRestore, UsageError
from backups.format import manifest as manifests
from backups.keeping import catalogue as catalogues
from backups.log import logbook, replay, segments
from backups.log.points import AtPosition, AtTime, Newest
from backups.sqlite.engine import SqliteEngine
from backups.stores import store as stores
from backups.stores.directory import DirectoryStore
from tests.backups.shipped_story import DAMAGES, START, Damage, Log, flipped, missing, redate, shipped_story
from tests.backups.shipping import POSITION_OF, Ferry, Stage, sequences, sound

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return shipped_story(tmp_path_factory.mktemp("model") / "stage")


@pytest.fixture
def log(model: Log, tmp_path: Path) -> Log:
    return model.copied(tmp_path / "stage")


def test_the_newest_state_is_the_database(log: Log) -> None:
    plan = replay.plan(log.store, Newest())
    assert (plan.cost, plan.refused, plan.position) == ("", (), 90)
    assert log.stage.built(plan).read_bytes() == log.truth


@pytest.mark.parametrize("wanted", range(51, 91, 3))
def test_a_position_is_the_commit_that_first_reached_it(log: Log, wanted: int) -> None:
    found = sequences(log.stage.replayed(AtPosition(wanted)))
    assert found == list(range(1, wanted + wanted % 2 + 1))  # two operations to a commit


@pytest.mark.parametrize("wanted", [91, 1_000])
def test_a_position_that_was_never_shipped_is_refused(log: Log, wanted: int) -> None:
    with pytest.raises(UsageError, match="the log comes to 90"):
        replay.plan(log.store, AtPosition(wanted))


@pytest.mark.parametrize("wanted", [1, 50])
def test_a_position_before_the_log_is_refused(log: Log, wanted: int) -> None:
    with pytest.raises(NothingToRestore, match="lies before the shipped log"):
        replay.plan(log.store, AtPosition(wanted))


@pytest.mark.parametrize(("seconds", "last"), [(0, 50), (9, 50), (10, 52), (19, 52), (100, 70), (205, 90), (9_999, 90)])
def test_an_instant_is_the_last_commit_shipped_by_then(log: Log, seconds: int, last: int) -> None:
    replayed = log.stage.replayed(AtTime(START + timedelta(seconds=seconds)))
    assert sequences(replayed) == list(range(1, last + 1))
    assert sound(replayed)


def test_an_instant_may_be_written_in_any_zone(log: Log) -> None:
    from backups.log.points import at_time

    assert sequences(log.stage.replayed(at_time("2026-11-23T10:01:40+01:00")))[-1] == 70


def test_an_instant_before_every_backup_is_refused(log: Log) -> None:
    with pytest.raises(NothingToRestore, match="choose a later time"):
        replay.plan(log.store, AtTime(START - timedelta(seconds=1)))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("at", [2, 9, 15])
def test_damage_ends_the_newest_state_at_the_last_good_commit_before_it(log: Log, damage: Damage, at: int) -> None:
    until = logbook.read_segment(log.store, log.generation, at - 1).header.position
    damage(log, at)
    plan = replay.plan(log.store, Newest())
    lost = log.indexes[-1] - at + 1
    assert f"{lost} segments of shipped log cannot be used" in plan.cost
    assert plan.last == at - 1
    replayed = log.stage.built(plan)
    assert sequences(replayed) == list(range(1, (until or 0) + 1))
    assert sound(replayed)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_no_matter_to_points_before_it(log: Log, damage: Damage) -> None:
    damage(log, 9)
    assert sequences(log.stage.replayed(AtPosition(60)))[-1] == 60
    assert sequences(log.stage.replayed(AtTime(START + timedelta(seconds=50))))[-1] == 60


@pytest.mark.parametrize("damage", DAMAGES)
def test_points_behind_damage_are_refused_with_what_can_be_had(log: Log, damage: Damage) -> None:
    damage(log, 9)
    with pytest.raises(NothingToRestore, match="cannot be reached exactly; what can is the newest state before it"):
        replay.plan(log.store, AtPosition(85))
    with pytest.raises(NothingToRestore, match="cannot be reached exactly"):
        replay.plan(log.store, AtTime(START + timedelta(seconds=170)))


def test_damage_in_the_first_segment_leaves_the_backup(log: Log) -> None:
    flipped(log, log.first + 1)
    plan = replay.plan(log.store, Newest())
    assert plan.segments == 0
    assert "cannot be used" in plan.cost
    assert sequences(log.stage.built(plan)) == list(range(1, 51))


def test_damage_that_comes_after_the_plan_is_found_while_replaying(log: Log) -> None:
    plan = replay.plan(log.store, Newest())
    flipped(log, 9)
    with pytest.raises(Damaged, match="its hash differs"):
        log.stage.built(plan)


@pytest.mark.parametrize("damage", [missing, flipped])
def test_damage_to_the_beginning_of_a_generation_leaves_the_backup(log: Log, damage: Damage) -> None:
    begin = log.stage.root / "store" / segments.begin_name(log.generation)
    if damage is missing:
        begin.unlink()
    else:
        content = begin.read_bytes()
        begin.write_bytes(content.replace(b'"page_size":4096', b'"page_size":8192'))
    plan = replay.plan(log.store, Newest())
    assert plan.segments == 0
    assert "begin.json" in plan.cost
    assert sequences(log.stage.built(plan))[-1] == 50


def test_the_end_of_a_log_that_went_missing_is_missed_when_a_later_backup_speaks_of_it(log: Log) -> None:
    ferry = Ferry(log.stage)
    ferry.stage.database.unlink()
    shutil.copy(log.stage.replayed(), log.stage.database)
    ferry.close()
    again = Ferry(log.stage)
    again.ready()
    again.close()
    for path in sorted((log.stage.root / "store" / "manifests").iterdir())[1:]:
        path.unlink()  # what is left is the first backup, and a second generation without one
    missing(log, log.indexes[-1] if log.indexes else logbook.generations(log.store)[0].last)
    plan = replay.plan(log.store, Newest())
    assert "is missing" in plan.cost


def test_a_backup_in_the_middle_is_built_on_and_leads_past_damage_before_it(tmp_path: Path) -> None:
    stage = Stage.make(tmp_path / "stage")
    ferry = Ferry(stage)
    ferry.ready()
    ferry.go(10)
    place = ferry.ship()
    run_backup(
        SqliteEngine(position_of=POSITION_OF),
        str(stage.database),
        stage.store,
        log=lambda: (place.generation, place.index),
        demonstration=True,
    )
    ferry.go(10)
    ferry.close()
    (stage.root / "store" / segments.name_of(place.generation, 5)).unlink()
    plan = replay.plan(stage.store, Newest())
    assert (plan.first, plan.cost) == (place.index + 1, "")
    assert stage.built(plan).read_bytes() == stage.truth()
    with pytest.raises(NothingToRestore, match="0000000005 is missing"):
        replay.plan(stage.store, AtPosition(57))
    known_bad = {plan.backup: "The restore found it damaged."}
    fallen_back = replay.plan(stage.store, Newest(), known_bad=known_bad)
    assert [one.id for one in fallen_back.refused] == [plan.backup]
    assert fallen_back.last == 4


def test_a_plain_backup_newer_than_the_log_is_the_newest_state(log: Log) -> None:
    manifest = run_backup(SqliteEngine(), str(log.stage.database), log.store, demonstration=True)
    plan = replay.plan(log.store, Newest())
    assert (plan.backup, plan.segments) == (manifest.id, 0)
    assert parse(plan.reaches) == parse(manifest.taken)


def test_a_plain_backup_older_than_the_end_of_the_log_is_not(log: Log) -> None:
    manifest = run_backup(SqliteEngine(), str(log.stage.database), log.store, demonstration=True)
    redate(log.stage.root / "store" / manifests.name_of(manifest.id))
    plan = replay.plan(log.store, Newest())
    assert plan.backup != manifest.id
    assert plan.last == log.indexes[-1]


def test_an_empty_store_has_nothing(tmp_path: Path) -> None:
    with pytest.raises(NothingToRestore, match="holds no backup, so there is nothing to restore"):
        replay.plan(DirectoryStore(tmp_path / "store", make=True), Newest())


def test_a_store_without_a_log_tells_no_positions(tmp_path: Path) -> None:
    stage = Stage.make(tmp_path / "stage")
    run_backup(SqliteEngine(position_of=POSITION_OF), str(stage.database), stage.store, demonstration=True)
    with pytest.raises(UsageError, match="does not tell positions"):
        replay.plan(stage.store, AtPosition(7))
    assert replay.plan(stage.store, Newest()).segments == 0


def test_an_instant_of_a_later_log_that_no_backup_leads_into_is_refused_and_not_given_an_older_state(log: Log) -> None:
    ferry = Ferry(log.stage)
    ferry.ready()
    ferry.go(3)
    ferry.close()
    now = datetime.now(UTC)
    newest = catalogues.read(log.store).entries[-1]
    assert replay.plan(log.store, AtTime(now)).backup == newest.id
    (log.stage.root / "store" / manifests.name_of(newest.id)).unlink()
    with pytest.raises(NothingToRestore, match="had ended by then, and that of 000002"):
        replay.plan(log.store, AtTime(now))
    assert replay.plan(log.store, AtTime(START + timedelta(hours=1))).position == 90


def test_an_instant_behind_damage_is_not_given_the_end_of_the_log_before(log: Log) -> None:
    ferry = Ferry(log.stage)
    place = ferry.ready()
    ferry.go(3)
    ferry.close()
    missing(Log(log.stage, place.generation, 0, b""), place.index + 1)
    with pytest.raises(NothingToRestore, match="cannot be reached exactly"):
        replay.plan(log.store, AtTime(datetime.now(UTC)))


def test_everything_a_plan_reads_is_in_the_store_and_nothing_is_written_to_it(log: Log) -> None:
    before = {one.name: stores.read(log.store, one.name) for one in log.store.list()}
    log.stage.replayed(AtPosition(60))
    assert {one.name: stores.read(log.store, one.name) for one in log.store.list()} == before
