"""Restoring real databases: what holds afterwards, what is refused, and what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from backups import swap as swaps
from backups.errors import BackupError, InUse, Locked, NoSpace, NothingToRestore, UsageError
from backups.restoration import as_json
from backups.restore import plan_restore, restore
from backups.sqlite.engine import SqliteEngine
from tests.backups import databases
from tests.backups.house import House


def test_a_lost_database_comes_back_as_it_was_at_the_backup(engine: SqliteEngine, house: House) -> None:
    house.database.unlink()
    result = restore(engine, house.store, str(house.database))
    assert databases.contents(house.database) == house.now
    assert (result.backup, result.refused, result.evidence) == (house.newer.id, (), None)
    assert (result.rows, result.position) == (house.newer.facts.rows, 230)


def test_the_old_files_are_kept_as_evidence(engine: SqliteEngine, crashed_house: House) -> None:
    house = crashed_house
    old = {path.name: path.read_bytes() for path in engine.members(house.database) if path.exists()}
    assert set(old) == {"gym.db", "gym.db-wal", "gym.db-shm"}
    result = restore(engine, house.store, f"sqlite:///{house.database}")
    assert result.evidence is not None
    assert {path.name: path.read_bytes() for path in result.evidence.iterdir()} == old
    assert databases.contents(house.database) == house.now


def test_nothing_but_the_database_and_the_evidence_is_left_behind(engine: SqliteEngine, crashed_house: House) -> None:
    house = crashed_house
    result = restore(engine, house.store, str(house.database))
    assert result.evidence is not None
    assert {path.name for path in house.database.parent.iterdir()} == {"gym.db", "store", result.evidence.name}


def test_the_phases_follow_each_other_on_one_clock(engine: SqliteEngine, house: House) -> None:
    result = restore(engine, house.store, str(house.database))
    assert [phase.name for phase in result.phases] == ["decide", "open", "build", "check", "fence", "swap", "reopen"]
    times = [t for phase in result.phases for t in (phase.begin_t, phase.end_t)]
    assert times == sorted(times)
    assert result.seconds == times[-1] - times[0]
    plain = as_json(result)
    assert plain["evidence"] == str(result.evidence)
    assert plain["phases"][0].keys() == {"name", "begin_t", "end_t", "backup"}


def test_a_bad_newest_backup_is_refused_and_the_cost_of_the_older_one_said(engine: SqliteEngine, house: House) -> None:
    path = house.object_of(house.newer)
    databases.flip(path, path.stat().st_size // 2)
    result = restore(engine, house.store, str(house.database))
    assert databases.contents(house.database) == house.then
    assert result.backup == house.older.id
    assert [refused.id for refused in result.refused] == [house.newer.id]
    assert "its hash differs" in result.refused[0].why or "does not decompress" in result.refused[0].why
    assert result.cost.positions == 30
    assert "30 operations older than the newest backup" in str(result.cost)
    assert [phase.name for phase in result.phases].count("decide") == 2


def test_a_manifest_that_is_not_json_costs_that_backup_and_no_crash(engine: SqliteEngine, house: House) -> None:
    house.manifest_of(house.newer).write_bytes(b"\0" * 100)
    result = restore(engine, house.store, str(house.database))
    assert result.backup == house.older.id
    assert "is not JSON" in result.refused[0].why


def test_with_every_backup_bad_the_database_is_left_alone(engine: SqliteEngine, house: House) -> None:
    for made in (house.older, house.newer):
        databases.flip(house.object_of(made), 50)
    before = sorted(house.database.parent.iterdir())
    with pytest.raises(NothingToRestore, match="None of the 2 backups can be used") as caught:
        restore(engine, house.store, str(house.database))
    assert house.older.id in str(caught.value)
    assert house.newer.id in str(caught.value)
    assert sorted(house.database.parent.iterdir()) == before
    assert databases.contents(house.database) == house.now


def test_a_backup_asked_for_by_name_is_used(engine: SqliteEngine, house: House) -> None:
    result = restore(engine, house.store, str(house.database), backup=house.older.id)
    assert databases.contents(house.database) == house.then
    assert (result.refused, result.cost.positions) == ((), 30)


def test_a_backup_asked_for_by_name_is_never_replaced_by_another(engine: SqliteEngine, house: House) -> None:
    databases.flip(house.object_of(house.newer), 50)
    with pytest.raises(NothingToRestore, match=f"Backup {house.newer.id} cannot be used"):
        restore(engine, house.store, str(house.database), backup=house.newer.id)
    assert databases.contents(house.database) == house.now


def test_restoring_over_a_running_service_is_refused_and_the_process_named(engine: SqliteEngine, house: House) -> None:
    with databases.service(house.database, rows=3) as service:
        before = sorted(house.database.parent.iterdir())
        with pytest.raises(InUse, match=rf"gym\.db is open in process {service.pid} \(.*python.*\); stop the service"):
            restore(engine, house.store, str(house.database))
        assert sorted(house.database.parent.iterdir()) == before


def test_a_service_that_still_writes_to_the_deleted_file_is_refused_too(engine: SqliteEngine, house: House) -> None:
    with databases.service(house.database) as service:
        house.database.unlink()
        with pytest.raises(InUse, match=str(service.pid)):
            restore(engine, house.store, str(house.database))
    assert not house.database.exists()


def test_the_fence_is_called_once_the_build_is_ready(engine: SqliteEngine, house: House) -> None:
    with databases.service(house.database, rows=3) as service:

        def fence() -> None:
            assert house.database.with_name("gym.db.restoring").exists()
            service.kill()
            service.wait()

        restore(engine, house.store, str(house.database), fence=fence)
    assert databases.contents(house.database) == house.now


@pytest.mark.parametrize("failure", ["raises", "does not fence"])
def test_a_fence_that_fails_leaves_everything_as_it_was(engine: SqliteEngine, house: House, failure: str) -> None:
    def fence() -> None:
        if failure == "raises":
            raise BackupError("The service does not stop.")

    with databases.service(house.database, rows=3):
        before = sorted(house.database.parent.iterdir())
        with pytest.raises(BackupError, match=r"does not stop|is open in process"):
            restore(engine, house.store, str(house.database), fence=fence)
        assert sorted(house.database.parent.iterdir()) == before


def test_restoring_elsewhere_leaves_the_database_alone(engine: SqliteEngine, house: House, tmp_path: Path) -> None:
    elsewhere = tmp_path / "new" / "place" / "look.db"
    with databases.service(house.database, rows=3):
        result = restore(engine, house.store, str(elsewhere))
    assert result.database == elsewhere
    assert databases.contents(elsewhere) == house.now


def test_a_directory_is_not_restored_over(engine: SqliteEngine, house: House, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        restore(engine, house.store, str(tmp_path))


def test_no_room_is_no_reason_to_fall_back(engine: SqliteEngine, house: House) -> None:
    before = sorted(house.database.parent.iterdir())
    with pytest.raises(NoSpace, match=f"There is no room for a restore of {house.newer.id}"):
        restore(engine, house.store, str(house.database), free_bytes=lambda _: 5)
    assert sorted(house.database.parent.iterdir()) == before


def test_two_restores_at_once_are_one_too_many(engine: SqliteEngine, house: House) -> None:
    def again() -> None:
        with pytest.raises(Locked, match="restore of"):
            restore(engine, house.store, str(house.database))

    restore(engine, house.store, str(house.database), fence=again)


def test_a_restore_writes_nothing_to_the_store(engine: SqliteEngine, house: House) -> None:
    root = Path(house.store.address)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    restore(engine, house.store, str(house.database))
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_permissions_of_the_old_file_pass_to_the_new_one(engine: SqliteEngine, house: House) -> None:
    house.database.chmod(0o640)
    restore(engine, house.store, str(house.database))
    assert house.database.stat().st_mode & 0o7777 == 0o640


def test_a_link_to_the_database_is_followed(engine: SqliteEngine, house: House, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(house.database)
    house.database.unlink()
    restore(engine, house.store, str(link))
    assert link.is_symlink()
    assert databases.contents(house.database) == house.now


def test_planning_touches_nothing_and_says_what_would_be_done(engine: SqliteEngine, house: House) -> None:
    before = sorted(house.database.parent.iterdir())
    plan = plan_restore(engine, house.store, str(house.database))
    assert sorted(house.database.parent.iterdir()) == before
    assert (plan.backup, plan.build_bytes) == (house.newer.id, house.newer.size_bytes)
    assert any("as evidence" in step for step in plan.steps)


def test_a_plan_left_behind_that_is_no_plan_stops_the_restore(engine: SqliteEngine, house: House) -> None:
    swaps.record_of(house.database).write_text("?")
    with pytest.raises(BackupError, match=r"restore-plan\.json is not a restore's plan"):
        restore(engine, house.store, str(house.database))
    assert databases.contents(house.database) == house.now
