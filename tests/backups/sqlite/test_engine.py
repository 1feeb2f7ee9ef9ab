"""What is SQLite's own business: addresses, deadlines, locks, the agent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from backups.errors import BackupError, Busy, DatabaseDamaged, NoSpace, NotADatabase, UsageError
from backups.format.facts import Facts
from backups.sqlite import agent as sqlite_agent
from backups.sqlite import engine as engines
from backups.sqlite.engine import SqliteEngine
from backups.sqlite.messages import Failed
from tests.backups import busy, databases
from tests.backups.snapshots import take

pytestmark = pytest.mark.processes


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


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """More than fits into a pipe, so that an agent cannot be done before somebody reads."""
    path = databases.make(tmp_path / "large.db", rows=10)
    with closing(databases.connect(path)) as database:
        for _ in range(8):
            database.execute("INSERT INTO notes (extra) VALUES (randomblob(1000000))")
    return path


def agents_of(path: Path) -> list[psutil.Process]:
    return [psutil.Process(holder.pid) for holder in SqliteEngine().holders(path) if holder.pid != os.getpid()]


def kill(agents: list[psutil.Process]) -> None:
    for agent in agents:
        agent.kill()


def read(engine: SqliteEngine, path: Path, meanwhile: Callable[[], object] = lambda: None) -> Facts:
    """Take all blocks, with something done after each, and then the facts."""
    with engine.snapshot(path) as reading:
        for _ in reading.blocks():
            meanwhile()
        return reading.facts()


def test_an_agent_killed_in_the_middle_is_an_error_of_its_own(engine: SqliteEngine, large: Path) -> None:
    with pytest.raises(BackupError, match=r"^The snapshot of .*large\.db failed: its process ended with code -9\.$"):
        read(engine, large, lambda: kill(agents_of(large)))


def test_a_reading_that_takes_too_long_is_given_up(large: Path) -> None:
    with pytest.raises(Busy, match=r"The snapshot of .* took longer than 1\.5 s and was given up"):
        read(
            SqliteEngine(deadline_s=1.5),
            large,
            lambda: databases.wait_until(lambda: not agents_of(large), "the deadline"),
        )


def test_a_reading_during_which_the_log_grows_too_long_is_given_up_and_frees_it(large: Path) -> None:
    with busy.writing(large, autocheckpoint=10) as writer:
        with pytest.raises(
            Busy, match=r"The backup of .* was given up: its log grew by more than 0 MB while the store took"
        ):
            read(SqliteEngine(log_cap_bytes=100_000), large, lambda: writer.wait_for_more(20))
        before = large.with_name("large.db-wal").stat().st_size
        writer.wait_for_more(400)
        assert large.with_name("large.db-wal").stat().st_size < 2 * before, "the log does not begin anew"


def test_a_reading_that_is_left_ends_its_agent_and_frees_the_log(engine: SqliteEngine, large: Path) -> None:
    with engine.snapshot(large) as reading:
        next(reading.blocks())
        assert agents_of(large)
    assert not agents_of(large)
    with closing(databases.connect(large)) as database:
        assert database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def test_a_reading_tells_how_far_it_is(engine: SqliteEngine, large: Path) -> None:
    told: list[tuple[int, int, str]] = []
    with engine.snapshot(large, lambda *step: told.append(step)) as reading:
        for block in reading.blocks():
            assert len(block) % reading.unit_bytes == 0
        reading.facts()
        assert reading.facts() == reading.facts()
    total_bytes = reading.units * reading.unit_bytes
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-1] == (total_bytes, total_bytes, "read")


def test_a_damaged_source_is_told_with_its_image_or_after_it(engine: SqliteEngine, large: Path) -> None:
    with closing(databases.connect(large)) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'operations'").fetchone()
    databases.poke(large, (root - 1) * 4096, b"\xa5" * 4096)
    with pytest.raises(DatabaseDamaged, match=r"large\.db is damaged, so no backup was made of it"):
        read(engine, large)


def test_an_image_of_a_damaged_database_is_not_sent_to_its_end(tmp_path: Path) -> None:
    receiving, sending = os.pipe()
    left = [b"third", b"second", b"first"]
    sqlite_agent.send((memoryview(left.pop()) for _ in range(3)), sending, stop=lambda: len(left) == 1)
    with open(receiving, "rb") as received:  # noqa: PTH123
        assert received.read() == b"\5\0\0\0first"


def test_a_damaged_log_is_told_in_a_sentence(engine: SqliteEngine, database: Path, tmp_path: Path) -> None:
    with databases.service(database, rows=50):
        log = database.with_name("gym.db-wal")
        databases.poke(log, 32 + 8, b"\xff\xff\xff\xff")
        with pytest.raises(
            BackupError, match=r"could not be read beside its writers: Frame 1 of the log .* Run it again"
        ):
            take(engine, database, tmp_path / "copy")


HALF_WAY = """
import sys
from pathlib import Path
from tests.backups import databases
database = databases.connect(Path(sys.argv[1]))
database.execute("PRAGMA cache_size = 5")
database.execute("BEGIN")
database.execute("UPDATE notes SET text = hex(randomblob(50))")
print("half-way", flush=True)
sys.stdin.read()
"""


@pytest.mark.processes
def test_a_commit_cut_off_without_a_log_is_not_undone_by_a_backup(engine: SqliteEngine, tmp_path: Path) -> None:
    path = databases.make(tmp_path / "gym.db", rows=5000, journal="delete")
    command = [sys.executable, "-c", HALF_WAY, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=databases.ROOT) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == b"half-way\n"
        service.kill()
    left = path.read_bytes()
    with pytest.raises(BackupError, match=r"gym\.db was left half-way through a commit .* start the service once"):
        read(engine, path)
    assert path.read_bytes() == left
    assert len(databases.contents(path)["notes"]) == 5000
    assert read(engine, path).position == 5000


READ_ONE_BLOCK = """
import sys
from pathlib import Path
from backups.sqlite.engine import SqliteEngine
with SqliteEngine().snapshot(Path(sys.argv[1])) as reading:
    next(reading.blocks())
    print("reading", flush=True)
    sys.stdin.read()
"""


@pytest.mark.processes
def test_an_agent_ends_with_the_process_that_reads(large: Path) -> None:
    command = [sys.executable, "-c", READ_ONE_BLOCK, str(large)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=databases.ROOT) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"reading\n"
        assert agents_of(large)
        parent.kill()
    databases.wait_until(lambda: not agents_of(large), "the agent's end", within_s=5)


@pytest.mark.processes
def test_commits_go_on_while_an_image_is_read(engine: SqliteEngine, large: Path, tmp_path: Path) -> None:
    with busy.writing(large, autocheckpoint=10) as writer:
        with engine.snapshot(large) as reading, (tmp_path / "copy").open("wb") as copy:
            for block in reading.blocks():
                writer.wait_for_more(20)
                copy.write(block)
            facts = reading.facts()
        assert facts.position is not None
        assert writer.newest_before(reading.taken_t) <= facts.position
        assert writer.newest_before(time.monotonic()) > facts.position + 100
    assert engine.check(tmp_path / "copy", facts, deep=True) == ()
