"""The contract of Engine, over every engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from backups.engine import Engine
from backups.errors import BackupError, NoSuchDatabase, NotADatabase, UsageError
from backups.format.facts import Facts
from backups.sqlite.engine import SqliteEngine
from tests.backups import databases
from tests.backups.snapshots import take


@dataclass(frozen=True, slots=True)
class Case:
    """An engine, a database of 200 operations at rest, and how to add more to it while a service has it open."""

    engine: Engine
    database: Path
    url: str
    another_kind: str
    write: Callable[[Path, int], None]


@pytest.fixture(params=["sqlite-wal", "sqlite-rollback"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    path = databases.make(tmp_path / "gym.db", journal="wal" if request.param == "sqlite-wal" else "delete")
    engine = SqliteEngine(position_of="operations.sequence")
    return Case(engine, path, f"sqlite:///{path}", "postgresql://localhost/gym", databases.write)


def taken(case: Case, into: Path) -> Facts:
    return take(case.engine, case.database, into).facts


def test_path_of_understands_urls_and_paths_alike(case: Case) -> None:
    assert case.engine.path_of(case.url) == case.engine.path_of(str(case.database)) == case.database


def test_path_of_refuses_a_database_of_another_kind(case: Case) -> None:
    with pytest.raises(UsageError):
        case.engine.path_of(case.another_kind)


def test_a_missing_database_is_named(case: Case, tmp_path: Path) -> None:
    missing = tmp_path / "none.db"
    with pytest.raises(NoSuchDatabase, match=str(missing)):
        case.engine.size_bytes(missing)
    with pytest.raises(NoSuchDatabase, match=str(missing)):
        take(case.engine, missing, tmp_path / "copy")
    assert not missing.exists()


def test_something_else_is_not_a_database(case: Case, tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear engine, " * 500)
    with pytest.raises(NotADatabase, match=r"letter\.txt"):
        take(case.engine, letter, tmp_path / "copy")
    assert letter.read_text() == "Dear engine, " * 500


def test_a_copy_is_faithful_and_its_facts_tell_rows_revision_and_position(case: Case, tmp_path: Path) -> None:
    facts = taken(case, tmp_path / "copy")
    assert facts.tables["operations"].rows == facts.tables["notes"].rows == 200
    assert (facts.revision, facts.position, facts.foreign_key_violations) == ("0002", 200, 0)
    assert case.engine.check(tmp_path / "copy", facts, deep=True) == ()
    assert databases.contents(tmp_path / "copy") == databases.contents(case.database)


def test_a_snapshot_leaves_the_database_as_it_was(case: Case, tmp_path: Path) -> None:
    before = (case.database.read_bytes(), databases.contents(case.database))
    taken(case, tmp_path / "copy")
    assert (case.database.read_bytes(), databases.contents(case.database)) == before


def test_equal_content_has_equal_facts_and_other_content_has_others(case: Case, tmp_path: Path) -> None:
    first, again = taken(case, tmp_path / "first"), taken(case, tmp_path / "again")
    case.write(case.database, 1)
    assert first == again
    assert taken(case, tmp_path / "other").tables["notes"] != first.tables["notes"]


def test_the_older_copy_differs_from_the_newer_facts_in_sentences(case: Case, tmp_path: Path) -> None:
    taken(case, tmp_path / "older")
    case.write(case.database, 5)
    findings = case.engine.check(tmp_path / "older", taken(case, tmp_path / "newer"), deep=False)
    assert "Table notes has 200 rows, and the manifest says 205." in findings
    assert "The position is 200, and the manifest says 205." in findings


@pytest.mark.parametrize("damage", ["truncated", "zeroed", "another file"])
def test_a_damaged_copy_is_found_out(case: Case, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "copy"
    facts = taken(case, copy)
    content = copy.read_bytes()
    copy.write_bytes(
        {
            "truncated": content[: len(content) // 2],
            "zeroed": content[:4096] + bytes(4096) + content[8192:],
            "another file": b"nothing of the kind" * 1000,
        }[damage]
    )
    assert case.engine.check(copy, facts, deep=True) != ()


def test_members_begin_with_the_database_and_need_not_exist(case: Case) -> None:
    members = case.engine.members(case.database)
    assert members[0] == case.database
    assert len(set(members)) == len(members)


def test_holders_are_the_processes_that_have_it_open(case: Case) -> None:
    assert case.engine.holders(case.database) == ()
    with databases.service(case.database) as service:
        assert [holder.pid for holder in case.engine.holders(case.database)] == [service.pid]


def test_holders_are_found_when_the_database_was_deleted_under_them(case: Case) -> None:
    with databases.service(case.database) as service:
        case.database.unlink()
        assert [holder.pid for holder in case.engine.holders(case.database)] == [service.pid]


def test_reopen_accepts_the_database_and_names_what_another_one_lacks(case: Case, tmp_path: Path) -> None:
    facts = taken(case, tmp_path / "copy")
    assert case.engine.reopen(tmp_path / "copy", facts) == ()
    other = databases.make(tmp_path / "other.db", rows=2000)
    assert case.engine.reopen(other, facts) != ()


def test_progress_can_stop_the_work(case: Case, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    facts = taken(case, copy)

    def stop(done_bytes: int, total_bytes: int, phase: str, /) -> None:
        raise BackupError(f"stopped in {phase} at {done_bytes} of {total_bytes}")

    with pytest.raises(BackupError, match="stopped in"):
        take(case.engine, case.database, tmp_path / "large", stop)
    assert case.engine.check(copy, facts, deep=False) == ()
