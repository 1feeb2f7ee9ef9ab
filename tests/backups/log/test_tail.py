"""The live end of a log: holding it, copying it to the main file, and noticing that it is another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backups.errors import BackupError, Busy, LogLost, NoSuchDatabase, NotADatabase
from backups.log import stretch
from backups.log.tail import Tail
from backups.sqlite.wal import ShmHeader
from tests.backups import databases

pytestmark = pytest.mark.processes


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Any]:
    with closing(databases.connect(databases.make(tmp_path / "gym.db", 20))) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("PRAGMA busy_timeout = 0")
        writer.execute("SELECT count(*) FROM notes").fetchone()
        yield writer


@pytest.fixture
def held(writer: Any, tmp_path: Path) -> Iterator[Tail]:
    watched = Tail(tmp_path / "gym.db", position_of="operations.sequence")
    watched.hold(lambda: None)
    yield watched
    watched.close()


def test_a_held_log_cannot_be_begun_anew_by_anybody(held: Tail, writer: Any) -> None:
    for mode in ("PASSIVE", "FULL", "RESTART", "TRUNCATE"):
        databases.insert(writer, 1)
        before = held.index()
        writer.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        databases.insert(writer, 1)
        assert held.index().salts == before.salts
        assert held.index().mx_frame > before.mx_frame


def test_a_log_that_is_let_go_of_can(held: Tail, writer: Any) -> None:
    databases.insert(writer, 1)
    before = held.index()
    held.let_go()
    assert not held.holds
    assert writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    assert held.index().salts != before.salts


def test_holding_a_log_of_which_everything_is_copied_makes_it_go_on(writer: Any, tmp_path: Path) -> None:
    databases.insert(writer, 1)
    writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    seen = []
    watched = Tail(tmp_path / "gym.db")
    watched.hold(lambda: seen.append(watched.index()))
    (when_stopped,) = seen
    assert when_stopped.backfilled == when_stopped.mx_frame
    assert watched.index().change == when_stopped.change + 1  # an empty commit, so that there is something to hold
    watched.close()


def test_a_checkpoint_copies_everything_and_the_next_writer_begins_a_new_round(held: Tail, writer: Any) -> None:
    databases.insert(writer, 3)
    before = held.index()
    assert held.checkpoint(lambda: None)
    assert held.index().backfilled == before.mx_frame
    databases.insert(writer, 1)
    assert held.index().salts[0] == before.salts[0] + 1


def test_a_checkpoint_stops_the_writers_while_the_rest_is_shipped(held: Tail, writer: Any) -> None:
    def rest() -> None:
        with pytest.raises(Exception, match="locked"):
            databases.insert(writer, 1)
        writer.execute("ROLLBACK")

    assert held.checkpoint(rest)
    databases.insert(writer, 1)


def test_a_checkpoint_whose_rest_could_not_be_shipped_is_none(held: Tail, writer: Any) -> None:
    databases.insert(writer, 1)

    def rest() -> None:
        raise BackupError("The store is away.")

    with pytest.raises(BackupError, match="away"):
        held.checkpoint(rest)
    assert held.holds
    assert held.index().backfilled == 0
    databases.insert(writer, 1)


def test_writers_that_do_not_pause_are_not_waited_for_longer_than_told(held: Tail, writer: Any) -> None:
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy, match="stayed locked"):
        held.checkpoint(lambda: None, 0.01)
    assert held.holds
    writer.execute("ROLLBACK")
    assert held.checkpoint(lambda: None, 0.01)


def test_what_is_read_are_the_frames_of_the_log(held: Tail, writer: Any) -> None:
    begin = held.index().mx_frame
    databases.insert(writer, 1)
    databases.insert(writer, 1)
    index = held.index()
    found = [frame for frame, _ in stretch.frames_in(held.read(begin + 1, index.mx_frame), held.page_size)]
    assert len(found) == index.mx_frame - begin
    assert {frame.salts for frame in found} == {index.salts}
    assert found[-1].checksum == index.frame_checksum == held.checksum_at(index.mx_frame)
    assert sum(frame.units > 0 for frame in found) == 2
    assert held.commits_until(index.mx_frame) == index.change
    with pytest.raises(LogLost, match="ends before"):
        held.read(index.mx_frame + 1, index.mx_frame + 1)
    assert held.checksum_at(index.mx_frame + 1) is None


def test_it_tells_how_far_the_application_is(held: Tail, writer: Any) -> None:
    assert held.position() == 20
    databases.insert(writer, 2)
    assert held.position() == 22
    writer.execute("DROP TABLE notes")
    writer.execute("DROP TABLE operations")
    assert held.position() is None


@pytest.mark.parametrize("name", ["gym.db", "gym.db-wal", "gym.db-shm"])
def test_files_that_went_are_noticed(held: Tail, tmp_path: Path, name: str) -> None:
    (tmp_path / name).rename(tmp_path / "elsewhere")
    with pytest.raises(LogLost, match=f"{name} was removed"):
        held.index()
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(LogLost, match=f"{name} was replaced"):
        held.index()


def test_an_index_that_says_nothing_is_given_up(held: Tail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShmHeader, "read", lambda _: None)
    with pytest.raises(LogLost, match="cannot be read"):
        held.index()


def test_only_a_database_with_a_write_ahead_log_is_watched(tmp_path: Path) -> None:
    with pytest.raises(NotADatabase, match="not in WAL mode"):
        Tail(databases.make(tmp_path / "old.db", 1, journal="delete"))
    with pytest.raises(NoSuchDatabase):
        Tail(tmp_path / "nothing.db")
    (tmp_path / "text.db").write_text("no database " * 500)
    with pytest.raises(LogLost, match="not a database"):
        Tail(tmp_path / "text.db")
