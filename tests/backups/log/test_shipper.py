"""The shipper on real databases: what it ships is the database; what it could have missed begins a new generation."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backups.errors import BackupError, NoSuchDatabase
from backups.log import logbook, replay, segments
from backups.log.points import Newest
from backups.log.shipper import Limits
from backups.log.tail import Tail
from tests.backups import databases
from tests.backups.shipping import Ferry, Stage, sequences, settled, sound

pytestmark = pytest.mark.processes

SMALL = Limits(checkpoint_bytes=60_000, cap_bytes=400_000)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage.make(tmp_path / "stage")


@pytest.fixture
def make(stage: Stage) -> Iterator[Callable[..., Ferry]]:
    made: list[Ferry] = []

    def ferry(**options: Any) -> Ferry:
        made.append(Ferry(stage, **{"limits": SMALL} | options))
        return made[-1]

    yield ferry
    for one in made:
        one.close()


def same(ferry: Ferry) -> None:
    """What the store gives back is the database, bit for bit. Closes the ferry."""
    ferry.ship()
    ferry.close()
    replayed = ferry.stage.replayed(keyring=ferry.keyring)
    assert replayed.read_bytes() == ferry.stage.truth()
    assert sound(replayed)


def test_what_is_shipped_is_the_database_bit_for_bit_through_many_checkpoints(make: Callable[..., Ferry]) -> None:
    ferry = make()
    ferry.ready()
    ferry.go(120)
    assert ferry.shipper.figures()["checkpoints"] > 20
    assert ferry.shipper.figures()["generations"] == ferry.bases == 1
    same(ferry)


def test_a_new_log_says_why_it_begins(make: Callable[..., Ferry], stage: Stage) -> None:
    ferry = make()
    ferry.ship()
    (generation,) = logbook.generations(stage.store)
    begin, _ = logbook.read_begin(stage.store, generation.id)
    assert begin.why == "There was no shipped log in the store."
    assert (begin.previous, begin.shipped) == (None, None)


def test_nothing_can_be_restored_before_the_generation_has_a_backup(make: Callable[..., Ferry]) -> None:
    def fail() -> None:
        raise BackupError("The disk is on strike.")

    ferry = make(base=fail)
    assert not ferry.ship().restorable
    databases.wait_until(lambda: ferry.shipper.tend() or bool(ferry.events("base failed")), "the failure")  # type: ignore[func-returns-value]
    assert ferry.events("base failed")[0]["why"] == "The disk is on strike."
    assert not ferry.ship().restorable


def test_a_backup_that_does_not_know_the_log_is_not_taken_for_its_base(make: Callable[..., Ferry]) -> None:
    ferry = make(base=lambda: None)
    ferry.ship()
    databases.wait_until(lambda: ferry.shipper.tend() or bool(ferry.events("base failed")), "the failure")  # type: ignore[func-returns-value]
    assert "does not say where" in str(ferry.events("base failed")[0]["why"])


def test_only_what_is_committed_is_shipped(make: Callable[..., Ferry], stage: Stage) -> None:
    ferry = make()
    ferry.ready()
    ferry.writer.execute("PRAGMA cache_size = 5")
    ferry.writer.execute("BEGIN")
    for _ in range(200):  # spills into the log long before its commit
        ferry.writer.execute("INSERT INTO notes (text, extra) VALUES ('half', randomblob(3000))")
    assert stage.database.with_name("gym.db-wal").stat().st_size > 300_000
    place = ferry.ship()
    ferry.writer.execute("ROLLBACK")
    assert ferry.ship().index == place.index
    ferry.write()
    same(ferry)


def test_a_commit_larger_than_a_segment_goes_into_several(
    make: Callable[..., Ferry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MOST_BYTES", 50_000)
    ferry = make(limits=Limits())
    before = ferry.ready().index
    ferry.writer.execute("BEGIN")
    for _ in range(100):
        ferry.writer.execute("INSERT INTO notes (text, extra) VALUES ('big', randomblob(3000))")
    ferry.writer.execute("COMMIT")
    assert ferry.ship().index > before + 5
    same(ferry)


def test_vacuum_is_a_commit_like_any_other(make: Callable[..., Ferry]) -> None:
    ferry = make()
    ferry.ready()
    ferry.go(30, rows=20)
    ferry.writer.execute("DELETE FROM notes WHERE id % 3")
    ferry.writer.execute("VACUUM")
    ferry.go(5)
    assert ferry.shipper.figures()["generations"] == 1
    same(ferry)


def test_a_database_that_shrinks_and_grows_again(make: Callable[..., Ferry]) -> None:
    ferry = make()
    ferry.ready()
    for _ in range(3):
        ferry.go(20, rows=30)
        ferry.writer.execute("DELETE FROM notes")
        ferry.writer.execute("VACUUM")
        ferry.go(2)
    same(ferry)


def test_a_reader_in_the_old_round_keeps_it_from_ending_and_nothing_is_lost(
    make: Callable[..., Ferry], stage: Stage
) -> None:
    ferry = make()
    ferry.ready()
    with closing(databases.connect(stage.database)) as reader:
        ferry.go(3)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM notes").fetchone()
        ferry.go(60)
        assert ferry.shipper.figures()["generations"] == 1
        reader.execute("ROLLBACK")
    ferry.go(60)
    same(ferry)


def test_shipping_is_taken_up_where_it_was_left(make: Callable[..., Ferry]) -> None:
    first = make()
    first.ready()
    first.go(25)
    first.shipper.close()
    first.write(3)
    again = make()
    assert again.ready().generation == first.place.generation if first.place else ""
    assert again.bases == 0
    assert again.events("resumed")
    again.go(25)
    first.close()
    same(again)


def test_frames_that_were_checkpointed_and_not_overwritten_are_still_shipped(make: Callable[..., Ferry]) -> None:
    """Someone copied unshipped frames to the main file: they are in the log until somebody writes."""
    first = make()
    first.ready()
    first.shipper.close()
    first.write(3)
    first.writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    again = make()
    again.ready()
    assert again.bases == 0
    again.go(3)
    first.close()
    same(again)


def broken(first: Ferry, again: Ferry, why: str) -> None:
    """A second generation was begun for that reason, and gives the database back."""
    before = first.place
    assert before is not None
    place = again.ready()
    assert place.generation != before.generation
    begin, _ = logbook.read_begin(again.stage.store, place.generation)
    assert why in begin.why
    assert begin.previous == before.generation
    assert again.bases == 1
    again.go(3)
    first.close()
    same(again)


@pytest.mark.parametrize("mode", ["TRUNCATE", "RESTART", "FULL"])
def test_a_foreign_checkpoint_while_nobody_watched_begins_a_new_generation(
    make: Callable[..., Ferry], mode: str
) -> None:
    first = make()
    first.ready()
    first.shipper.close()
    first.write(3)
    assert first.writer.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0] == 0
    first.write(2)
    broken(first, make(), "while nobody watched it")


def test_two_rounds_while_nobody_watched_begin_a_new_generation(make: Callable[..., Ferry]) -> None:
    first = make()
    first.ready()
    first.shipper.close()
    for _ in range(2):
        first.write(3)
        first.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    first.write()
    broken(first, make(), "while nobody watched it")


def test_a_foreign_checkpointer_is_kept_out_while_the_log_is_held(make: Callable[..., Ferry]) -> None:
    ferry = make()
    ferry.ready()
    ferry.writer.execute("PRAGMA busy_timeout = 0")
    for _ in range(10):
        ferry.write()
        busy, _, _ = ferry.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 1
        ferry.ship()
    assert ferry.shipper.figures()["generations"] == 1
    same(ferry)


@pytest.mark.parametrize(
    ("commits", "held", "why"),
    [(0, False, ""), (1, False, "somebody else"), (1, True, "before they were shipped"), (5, True, "before they were")],
)
def test_a_foreign_checkpointer_between_letting_go_and_holding_again(
    make: Callable[..., Ferry], stage: Stage, commits: int, held: bool, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one moment in which a live shipper can be cheated: it notices, whatever happened in it.

    A reader that is `held` in the old round keeps it from ending, so that the commits in question are added to it.
    """
    ferry = make()
    ferry.ready()
    hold = Tail.hold
    cheated: list[bool] = []
    reader = databases.connect(stage.database)

    def cheating(tail: Tail, stopped: Callable[[], None]) -> None:
        if not cheated:
            cheated.append(True)
            for _ in range(commits):
                ferry.write()
            if held:
                reader.execute("ROLLBACK")
            assert ferry.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            ferry.write()
        hold(tail, stopped)

    monkeypatch.setattr(Tail, "hold", cheating)
    while not cheated:
        ferry.write()
        ferry.ship()
        if held:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM notes").fetchone()
        ferry.shipper.tend()
        if held and not cheated:
            reader.execute("ROLLBACK")
    reader.close()
    ferry.ready()
    assert [why in str(told["why"]) for told in ferry.events("generation over")] == ([True] if why else [])
    ferry.go(3)
    same(ferry)


def test_a_log_that_was_removed_begins_a_new_generation(make: Callable[..., Ferry], stage: Stage) -> None:
    first = make()
    first.ready()
    first.go(3)
    first.shipper.close()
    first.writer.close()  # the last one removes log and index
    assert not stage.database.with_name("gym.db-wal").exists()
    broken(first, make(), "while nobody watched it")


def test_a_database_replaced_under_a_live_shipper_begins_a_new_generation(
    make: Callable[..., Ferry], stage: Stage
) -> None:
    ferry = make()
    before = ferry.ready()
    ferry.go(5)
    ferry.writer.close()
    other = databases.make(stage.root / "other.db", 7)
    for name in ("gym.db", "gym.db-wal", "gym.db-shm"):
        (stage.database.parent / name).rename(stage.root / f"old-{name}")
    other.rename(stage.database)
    with pytest.raises(BackupError, match="was replaced"):
        ferry.ship()
    ferry.writer = databases.connect(stage.database)
    ferry.writer.execute("PRAGMA wal_autocheckpoint = 0")
    place = ferry.ready()
    assert place.generation != before.generation
    begin, _ = logbook.read_begin(stage.store, place.generation)
    assert "was replaced" in begin.why
    ferry.go(3)
    ferry.ship()
    ferry.writer.close()
    assert sequences(stage.replayed())[-1] == 10


def test_another_page_size_begins_a_new_generation(make: Callable[..., Ferry], stage: Stage) -> None:
    first = make()
    first.ready()
    first.shipper.close()
    first.writer.execute("PRAGMA journal_mode = DELETE")
    first.writer.execute("PRAGMA page_size = 8192")
    first.writer.execute("VACUUM")
    first.writer.execute("PRAGMA journal_mode = WAL")
    broken(first, make(), "with pages of 4096 bytes")


def test_a_database_without_a_write_ahead_log_is_refused(make: Callable[..., Ferry], stage: Stage) -> None:
    with closing(databases.connect(stage.database)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    with pytest.raises(BackupError, match="not in WAL mode but in delete"):
        make().ship()


def test_a_database_that_is_not_there_is_refused_and_not_made(tmp_path: Path, make: Callable[..., Ferry]) -> None:
    from backups.log.shipper import Shipper

    stage = Stage.make(tmp_path / "other")
    missing = tmp_path / "missing.db"
    shipper = Shipper(missing, stage.store, lambda: None, lambda *_, **__: None)
    with pytest.raises(NoSuchDatabase):
        shipper.ship()
    assert not missing.exists()


def test_a_store_that_is_away_bounds_the_log_and_breaks_the_chain_visibly(
    make: Callable[..., Ferry], stage: Stage
) -> None:
    ferry = make()
    before = ferry.ready()
    away = stage.root / "away"
    (stage.root / "store").rename(away)
    largest = 0
    for _ in range(400):
        ferry.write(3)
        with pytest.raises(BackupError):
            ferry.ship()
        ferry.shipper.tend()
        largest = max(largest, stage.database.with_name("gym.db-wal").stat().st_size)
    assert not (stage.root / "store").exists()  # nothing was made in its place
    assert SMALL.cap_bytes <= largest < 1.5 * SMALL.cap_bytes
    assert "checkpointed unshipped" in str(ferry.events("generation over")[0]["why"])
    away.rename(stage.root / "store")
    place = ferry.ready()
    assert place.generation != before.generation
    begin, _ = logbook.read_begin(stage.store, place.generation)
    assert "checkpointed unshipped" in begin.why
    assert begin.shipped == before.index
    ferry.go(3)
    same(ferry)


def test_a_store_that_is_soon_back_costs_nothing(make: Callable[..., Ferry], stage: Stage) -> None:
    ferry = make()
    before = ferry.ready()
    away = stage.root / "away"
    (stage.root / "store").rename(away)
    for _ in range(5):
        ferry.write()
        with pytest.raises(BackupError, match="not there any more"):
            ferry.ship()
        ferry.shipper.tend()
    (stage.root / "store").mkdir()  # a mount point without its disk
    databases.wait_until(lambda: "not the store" in _trouble(ferry), "another trouble")
    (stage.root / "store").rmdir()
    away.rename(stage.root / "store")
    assert ferry.ready().generation == before.generation
    assert ferry.events("shipping again")
    same(ferry)


def _trouble(ferry: Ferry) -> str:
    try:
        ferry.ship()
    except BackupError as error:
        return str(error)
    return ""


def test_two_who_ship_the_same_log_are_found_out(make: Callable[..., Ferry], stage: Stage) -> None:
    ferry = make()
    place = ferry.ready()
    shutil.copy(
        stage.root / "store" / segments.begin_name(place.generation),
        stage.root / "store" / segments.name_of(place.generation, place.index + 1),
    )
    ferry.write()
    with pytest.raises(BackupError, match="somebody else"):
        ferry.ship()
    assert ferry.ready().generation != place.generation


def test_the_newest_of_two_generations_is_what_comes_back(make: Callable[..., Ferry], stage: Stage) -> None:
    first = make()
    first.ready()
    first.go(5)
    first.shipper.close()
    first.write(3)
    first.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    again = make()
    again.ready()
    again.go(5)
    plan = replay.plan(stage.store, Newest())
    assert plan.generation == again.ship().generation
    first.close()
    again.close()
    assert stage.built(plan).read_bytes() == settled(stage.database)


def test_writers_that_never_pause_do_not_stop_the_shipping(make: Callable[..., Ferry], stage: Stage) -> None:
    ferry = make()
    ferry.ready()
    for _ in range(20):
        ferry.write()
    ferry.ship()
    with closing(databases.connect(stage.database)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        assert ferry.shipper.checkpoint_due
        ferry.shipper.tend()
        assert (ferry.shipper.trouble, ferry.shipper.figures()["checkpoints"]) == ("", 0)
        busy.execute("INSERT INTO notes (text) VALUES ('at last')")
        busy.execute("COMMIT")
        before = ferry.place
        assert before is not None
        assert ferry.ship().index == before.index + 1
    ferry.shipper.tend()
    assert ferry.shipper.figures()["checkpoints"] == 1
    same(ferry)
