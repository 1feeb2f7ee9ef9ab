"""What is SQLite's own business: addresses, deadlines, locks, the agent."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from backups import sqlite as engines
from backups.errors import BackupError, Busy, DatabaseDamaged, NoSpace, NotADatabase, UsageError
from backups.sqlite import SqliteEngine
from backups.sqlite_messages import Failed
from tests.backups import databases
from tests.backups.snapshots import take


@pytest.mark.parametrize(
    ("database", "path"),
    [
        ("sqlite:////srv/gym.db", "/srv/gym.db"),
        ("sqlite+pysqlite:////srv/gym.db", "/srv/gym.db"),
        ("sqlite:////srv/gym.db?timeout=5", "/srv/gym.db"),
        ("/srv/with space & ?.db", "/srv/with space & ?.db"),
    ],
)
def test_urls_and_paths_lead_to_the_file(engine: SqliteEngine, database: str, path: str) -> None:
    assert engine.path_of(database) == Path(path)


def test_three_slashes_are_relative(engine: SqliteEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert engine.path_of("sqlite:///var/gym.db") == engine.path_of("var/gym.db") == tmp_path / "var" / "gym.db"


@pytest.mark.parametrize(
    "database", ["sqlite://", "sqlite:///:memory:", ":memory:", "", "postgresql://h/db", "mysql://h/db"]
)
def test_what_has_no_file_is_refused(engine: SqliteEngine, database: str) -> None:
    with pytest.raises(UsageError):
        engine.path_of(database)


@pytest.mark.parametrize("position", ["sequence", "a.b.c", "operations.sequence; drop", ""])
def test_a_position_is_a_table_and_a_column(position: str) -> None:
    with pytest.raises(UsageError, match=r"written table\.column"):
        SqliteEngine(position_of=position)


def test_names_that_urls_find_special_are_just_names(engine: SqliteEngine, tmp_path: Path) -> None:
    path = databases.make(tmp_path / "100% gym?mode=memory#1.db", rows=3)
    assert take(engine, path, tmp_path / "copy?x=1").facts.position == 3


def test_a_directory_is_not_a_database(engine: SqliteEngine, tmp_path: Path) -> None:
    with pytest.raises(NotADatabase, match="is a directory"):
        take(engine, tmp_path, tmp_path / "copy")


def test_an_agent_that_never_answers_is_killed_at_the_deadline(database: Path, tmp_path: Path) -> None:
    with databases.connect(database) as blocker:
        blocker.execute("PRAGMA journal_mode = DELETE")
        blocker.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Busy, match=r"The snapshot of .* took longer than 0\.2 s and was given up"):
            take(SqliteEngine(deadline_s=0.2), database, tmp_path / "copy")
    blocker.close()


def test_an_agent_that_dies_is_an_error_of_its_own(
    engine: SqliteEngine, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_AGENT", "backups.no_such_agent")
    with pytest.raises(BackupError, match="its process ended with code 1"):
        take(engine, database, tmp_path / "copy")


def test_every_commit_acknowledged_before_taken_t_is_in_the_snapshot(
    engine: SqliteEngine, database: Path, tmp_path: Path
) -> None:
    databases.write(database, 1)
    acknowledged_t = time.monotonic()
    snapshot = take(engine, database, tmp_path / "copy")
    assert acknowledged_t < snapshot.taken_t < time.monotonic()
    assert snapshot.facts.position == 201


def test_a_snapshot_under_constant_writes_ends_and_is_of_one_state(
    engine: SqliteEngine, database: Path, tmp_path: Path
) -> None:
    """An operation and its note are committed together; a copy of one state has as many of the one as of the other."""
    script = (
        "import sys; from pathlib import Path; from tests.backups import databases\n"
        "database = databases.connect(Path(sys.argv[1]))\n"
        "while True: databases.insert(database, 3)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(database)], cwd=databases.ROOT) as writer:
        try:
            log = database.with_name("gym.db-wal")
            databases.wait_until(lambda: log.exists() and log.stat().st_size > 0, "the first write")
            facts = take(engine, database, tmp_path / "copy").facts
        finally:
            writer.kill()
    assert facts.tables["notes"].rows == facts.tables["operations"].rows == facts.position
    assert engine.check(tmp_path / "copy", facts, deep=True) == ()


@pytest.mark.parametrize(
    ("code", "message", "kind", "words"),
    [
        ("SQLITE_FULL", "database or disk is full", NoSpace, "There was no room for a copy of gym.db"),
        (
            "SQLITE_IOERR_READ",
            "disk I/O error",
            BackupError,
            "could not be read .disk I/O error.: the disk it lies on is failing",
        ),
        ("SQLITE_NOTADB", "file is not a database", NotADatabase, "gym.db is not an SQLite database"),
        ("SQLITE_CORRUPT_INDEX", "malformed", DatabaseDamaged, "gym.db is damaged, so no backup was made"),
        ("SQLITE_BUSY_SNAPSHOT", "database is locked", Busy, "gym.db stayed locked"),
        ("LOG", "Frame 2 is missing.", BackupError, "could not be read beside its writers: Frame 2 is missing. Run"),
        ("SQLITE_MISUSE", "bad parameter", BackupError, "SQLite failed on gym.db: bad parameter .SQLITE_MISUSE."),
    ],
)
def test_each_way_to_fail_is_one_sentence(
    engine: SqliteEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    message: str,
    kind: type[BackupError],
    words: str,
) -> None:
    monkeypatch.setattr(engines, "_next_answer", lambda *_: Failed(code, message))
    (tmp_path / "gym.db").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=words) as caught:
        take(engine, Path("gym.db"), tmp_path / "copy")
    assert type(caught.value) is kind
