"""Clusters that come back: at the end of the log, at a point in it, from an older backup, and not at all, told why."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from backups import disk
from backups.errors import InUse, KeyMissing, NothingToRestore, StoreError, UsageError
from backups.format.manifest import name_of
from backups.keys.keyring import Keyring, generate
from backups.postgres import restore as restoring
from backups.postgres import tape
from backups.postgres.binaries import Binaries, NoPostgres
from backups.postgres.recovery import NEWEST, at_instant, at_lsn, at_name
from backups.postgres.restore import data_directory, plan_restore, restore
from backups.restoration import LogReplayed, Restoration
from backups.stores import store as stores
from tests.backups import databases
from tests.backups.postgres.conftest import Clinic

pytestmark = pytest.mark.processes


def brought_back(clinic: Clinic, **how: object) -> Restoration:
    """The restore, and the server started on what it left."""
    done = restore(clinic.store, clinic.data, keyring=clinic.keyring, **how)  # type: ignore[arg-type]
    clinic.server.start()
    return done


def test_a_lost_disk_comes_back_with_everything_that_was_received(clinic: Clinic) -> None:
    clinic.write(5)
    with clinic.receiving():
        clinic.back_up()
        last = clinic.write(20)
        databases.wait_until(lambda: _received(clinic, last), "the log is in the spool")
        clinic.lose()
    done = brought_back(clinic, spool=clinic.spool)
    assert clinic.numbers() == list(range(1, last + 1))
    assert isinstance(done.replayed, LogReplayed)
    assert done.replayed.timeline == 2
    assert [phase.name for phase in done.phases] == ["decide", "open", "build", "replay", "check", "fence", "swap"]
    assert clinic.write() > last
    assert not any(path.name.startswith("data.restoring") for path in clinic.data.parent.iterdir())


def test_the_store_alone_is_enough_for_what_was_shipped(clinic: Clinic) -> None:
    with clinic.receiving():
        clinic.back_up()
        last = clinic.write(10)
        databases.wait_until(lambda: _received(clinic, last), "the log is in the spool")
        pieces = len(clinic.store.list("wal/"))
        clinic.write(1)
        databases.wait_until(lambda: len(clinic.store.list("wal/")) > pieces, "another piece is in the store")
        time.sleep(0.3)
        clinic.lose()
    shutil.rmtree(clinic.spool)
    brought_back(clinic)
    assert clinic.numbers() == list(range(1, last + 2))


def test_a_segment_that_the_spool_holds_less_of_than_the_store_is_taken_from_the_store(newest: Clinic) -> None:
    """A receiver that is killed while it makes room for a segment leaves it shorter than one, and nothing in it."""
    with newest.receiving():
        newest.back_up()
        last = newest.write(10)
        databases.wait_until(lambda: _received(newest, last), "the log is in the spool")
        pieces = len(newest.store.list("wal/"))
        newest.write(1)
        databases.wait_until(lambda: len(newest.store.list("wal/")) > pieces, "another piece is in the store")
        time.sleep(0.3)
        newest.lose()
    (partial,) = newest.spool.rglob("*.partial")
    partial.write_bytes(bytes(2 << 20))
    brought_back(newest, spool=newest.spool)
    assert newest.numbers() == list(range(1, last + 2))


def test_a_segment_that_the_spool_has_only_begun_is_filled_up(newest: Clinic) -> None:
    with newest.receiving():
        newest.back_up()
        last = newest.write(3)
        newest.caught_up()
        newest.lose()
    for one in newest.spool.rglob("*.partial"):
        one.unlink()
    whole = max(one.name for one in newest.spool.rglob("0*") if one.is_file() and len(one.name) == 24)
    (place,) = newest.spool.rglob(whole)
    place.with_name(f"{whole[:16]}{int(whole[16:], 16) + 1:08X}.partial").write_bytes(bytes(2 << 20))
    brought_back(newest, spool=newest.spool)
    assert newest.numbers() == list(range(1, last + 1))


def test_nothing_acknowledged_is_lost_when_commits_wait_for_the_log(newest: Clinic) -> None:
    """Sixteen writers are acknowledged until the very moment of the loss; every one of them is there afterwards."""
    acknowledged: list[int] = []

    def write_on() -> None:
        with newest.server.connect() as connection:
            while True:
                try:
                    row = connection.execute("INSERT INTO operations DEFAULT VALUES RETURNING sequence").fetchone()
                except psycopg.Error:
                    return
                assert row is not None
                acknowledged.append(row[0])

    with newest.receiving(sync=True):
        newest.back_up()
        for _ in range(3):
            writers = [threading.Thread(target=write_on) for _ in range(16)]
            for one in writers:
                one.start()
            before = len(acknowledged)
            databases.wait_until(lambda before=before: len(acknowledged) > before + 300, "enough is acknowledged")  # type: ignore[misc]
            break
        newest.lose()
        for one in writers:
            one.join()
    restore(newest.store, newest.data, spool=newest.spool)
    newest.server.start(synchronous_standby_names="")
    assert set(acknowledged) - set(newest.numbers()) == set()


def test_a_point_in_time_is_reached_exactly(clinic: Clinic) -> None:
    """By a restore point, by a position of the log, and by an instant: what was committed until then and nothing later."""
    with clinic.receiving():
        clinic.back_up()
        clinic.write(3)
        with clinic.server.connect() as connection:
            row = connection.execute("SELECT pg_create_restore_point('three')::text").fetchone()
        assert row is not None
        time.sleep(0.05)
        clinic.write(3)
        time.sleep(0.05)
        instant = datetime.now(UTC)
        time.sleep(0.05)
        clinic.write(3)
        clinic.caught_up()
    clinic.server.stop()
    for number, (goal, there) in enumerate(
        ((at_name("three"), 3), (at_lsn(row[0]), 3), (at_instant(instant), 6), (NEWEST, 9))
    ):
        place = clinic.directory / f"look-{number}"
        restore(clinic.store, place, goal=goal)
        server = type(clinic.server)(clinic.directory / f"s{number}", clinic.server.port, clinic.server.programs)
        server.directory.mkdir()
        place.rename(server.data)
        server.start()
        with server.connect() as connection:
            found = connection.execute("SELECT count(*) FROM operations").fetchone()
        server.close()
        assert found == (there,), str(goal)
    clinic.server.start()


def test_the_backup_alone_comes_to_exactly_what_was_measured(clinic: Clinic) -> None:
    clinic.write(7)
    manifest = clinic.back_up()
    assert manifest.server is not None
    assert manifest.server.exact
    clinic.write(5)
    clinic.server.stop()
    done = brought_back(clinic, goal=None)
    assert (clinic.numbers(), done.position, done.replayed) == (list(range(1, 8)), 7, None)
    assert done.evidence is not None
    assert (done.evidence / "PG_VERSION").exists()


def test_what_cannot_be_synced_does_not_take_the_place_of_the_old_cluster(
    newest: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is synced while it is recovered, so all of it is before the exchange, with no server on it any more."""
    newest.write(2)
    newest.back_up()
    newest.server.stop()
    synced: list[Path] = []

    def refuse(path: Path) -> None:
        assert (path / "PG_VERSION").exists()
        assert not (path / "postmaster.pid").exists()
        synced.append(path)
        raise OSError(errno.EIO, "Input/output error", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(disk, "sync_filesystem", refuse)
        with pytest.raises(StoreError, match="Input/output error"):
            restore(newest.store, newest.data)
    assert len(synced) == 1
    assert not synced[0].exists()
    newest.server.start()
    assert newest.numbers() == [1, 2]


def test_a_large_file_that_cannot_be_synced_while_it_is_unpacked_ends_the_restore(
    newest: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest.back_up()

    def refuse(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(tape, "_sync", refuse)
    with pytest.raises(StoreError, match="Input/output error"):
        restore(newest.store, newest.directory / "elsewhere")
    assert not (newest.directory / "elsewhere").exists()


def test_a_damaged_backup_is_refused_for_an_older_one(newest: Clinic) -> None:
    newest.write(2)
    older = newest.back_up()
    newest.write(2)
    newer = newest.back_up()
    assert newer.parent == older.id
    pack = next(one for one in newest.store.list(f"objects/{newer.id}/") if "pack" in one.name)
    place = Path(newest.store.address) / pack.name
    databases.flip(place, place.stat().st_size // 2)
    newest.server.stop()
    done = brought_back(newest, goal=None)
    assert done.backup == older.id
    assert [one.id for one in done.refused] == [newer.id]
    assert newest.numbers() == [1, 2]


def test_two_restores_in_a_row_leave_two_timelines_and_the_newest_is_followed(newest: Clinic) -> None:
    with newest.receiving():
        newest.back_up()
        newest.write(3)
        newest.caught_up()
    newest.lose()
    brought_back(newest, spool=newest.spool)
    with newest.receiving():
        newest.write(3)
        newest.caught_up()
    newest.lose()
    done = brought_back(newest, spool=newest.spool)
    assert len(newest.numbers()) == 6
    assert isinstance(done.replayed, LogReplayed)
    assert done.replayed.timeline == 3


def test_a_cluster_that_runs_is_not_restored_over(newest: Clinic) -> None:
    newest.back_up()
    with pytest.raises(InUse, match="stop it first, with pg_ctl stop"):
        restore(newest.store, newest.data)
    newest.write()
    newest.server.stop()


def test_a_goal_that_the_log_does_not_reach_is_told_and_nothing_is_touched(newest: Clinic) -> None:
    manifest = newest.back_up()
    newest.write(3)
    newest.server.stop()
    with pytest.raises(NothingToRestore, match="does not go as far as name nowhere"):
        restore(newest.store, newest.data, goal=at_name("nowhere"))
    with pytest.raises(NothingToRestore, match=rf"{manifest.id}: It was taken at .*, after 2020"):
        restore(newest.store, newest.data, goal=at_instant(datetime(2020, 1, 1, tzinfo=UTC)))
    with pytest.raises(NothingToRestore, match=r"It ends at 0/\w+, after 0/1"):
        plan_restore(newest.store, newest.data, goal=at_lsn("0/1"))
    newest.server.start()
    assert newest.numbers() == [1, 2, 3]
    assert sorted(path.name for path in newest.data.parent.iterdir() if "data" in path.name) == ["data"]


@pytest.mark.parametrize(("parse", "text"), [(at_lsn, "12"), (at_lsn, "0/xyz"), (at_name, "a b"), (at_name, "")])
def test_a_goal_that_is_none_is_a_usage_error(parse: object, text: str) -> None:
    with pytest.raises(UsageError, match=r"write it as|no name of a restore point"):
        parse(text)  # type: ignore[operator]


def test_programs_of_the_backups_own_version_are_wanted(newest: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    newest.back_up()
    newest.server.stop()

    def none(major: int | None = None) -> Binaries:
        raise NoPostgres(f"There are no programs of PostgreSQL {major} here.")

    monkeypatch.setattr(restoring, "binaries", none)
    with pytest.raises(NoPostgres, match=f"PostgreSQL {newest.server.programs.major}"):
        restore(newest.store, newest.data)
    assert newest.server.data.exists()


def test_a_sealed_cluster_and_its_sealed_log_want_the_identity(newest: Clinic, tmp_path: Path) -> None:
    identity, recipient = generate()
    key = tmp_path / "identity"
    key.touch(mode=0o600)
    key.write_text(f"{identity}\n", "ascii")
    newest.keyring = Keyring(recipients=(recipient,), host_secret=tmp_path / "host.secret")
    with newest.receiving():
        newest.back_up()
        last = newest.write(4)
        newest.caught_up()
        newest.lose()
    for stored in newest.store.list("wal/"):
        assert b"operations" not in stores.read(newest.store, stored.name)
    with pytest.raises(KeyMissing):
        restore(newest.store, newest.data, keyring=Keyring.plain())
    newest.keyring = Keyring(identities=(key,))
    brought_back(newest)
    assert newest.numbers() == list(range(1, last + 1))


def test_where_the_cluster_lay_is_known_from_its_backups(newest: Clinic) -> None:
    with pytest.raises(NothingToRestore, match="holds no backup of a PostgreSQL server"):
        data_directory(newest.store)
    manifest = newest.back_up()
    assert data_directory(newest.store) == newest.data
    assert newest.store.size(name_of(manifest.id)) is not None


def _received(clinic: Clinic, last: int) -> bool:
    """Whether the spool has every commit up to now."""
    assert last
    with clinic.server.connect() as connection:
        row = connection.execute(
            "SELECT bool_and(write_lsn >= pg_current_wal_flush_lsn()) FROM pg_stat_replication WHERE write_lsn IS NOT NULL"
        ).fetchone()
    return bool(row and row[0])
