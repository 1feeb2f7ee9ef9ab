"""The contract of Engine, over every engine: SQLite's in two journal modes, PostgreSQL's with each major version here."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest

from backups.engine import Engine
from backups.errors import BackupError, NoSuchDatabase, NotADatabase, UsageError
from backups.format.facts import Facts
from backups.postgres import facts as measuring
from backups.postgres.binaries import binaries, installations
from backups.postgres.connection import ServerAway
from backups.postgres.engine import PostgresEngine
from backups.postgres.server import Server, running
from backups.sqlite.engine import SqliteEngine
from ci.loopback import HOST, free_ports
from tests.backups import databases
from tests.backups.snapshots import take

POSITION = "operations.sequence"
MAJORS = tuple(one.major for one in installations())


class Case(Protocol):
    """An engine and a database of 200 operations, with everything that the contract wants done to one."""

    engine: Engine
    database: Path
    url: str
    another_kind: str

    def write(self, rows: int) -> None:
        """Add operations, each with a note, while a service may have it open."""

    def contents(self) -> Any:
        """Every row of it."""

    def copied(self, copy: Path) -> Any:
        """Every row of a copy, in the same shape; nothing when the engine itself is the only one who can tell."""

    def missing(self) -> tuple[Engine, Path, str]:
        """A database that is not there, and what it is called in a sentence about that."""

    def nonsense(self) -> AbstractContextManager[tuple[Engine, Path, type[BackupError]]]:
        """Something that is no database of this kind, and the refusal it deserves."""

    def at_rest(self) -> AbstractContextManager[None]:
        """Nobody has it open."""

    def service(self) -> AbstractContextManager[int]:
        """A process has it open; its pid."""

    def delete(self) -> None:
        """Its files are gone from under whoever has it open."""

    def discard(self) -> None:
        """Nothing of a deleted one is left."""

    def damaged(self, copy: bytes, how: str) -> bytes:
        """The copy, damaged that way."""


@dataclass
class SqliteCase:
    directory: Path
    journal: str
    engine: Engine = field(default_factory=lambda: SqliteEngine(position_of=POSITION))
    another_kind: str = "postgresql://localhost/gym"

    def __post_init__(self) -> None:
        self.database = databases.make(self.directory / "gym.db", journal=self.journal)
        self.url = f"sqlite:///{self.database}"

    def write(self, rows: int) -> None:
        databases.write(self.database, rows)

    def contents(self) -> Any:
        return (self.database.read_bytes(), databases.contents(self.database))

    def copied(self, copy: Path) -> Any:
        return (self.database.read_bytes(), databases.contents(copy))

    def missing(self) -> tuple[Engine, Path, str]:
        path = self.directory / "none.db"
        return self.engine, path, str(path)

    @contextmanager
    def nonsense(self) -> Iterator[tuple[Engine, Path, type[BackupError]]]:
        letter = self.directory / "letter.txt"
        letter.write_text("Dear engine, " * 500)
        yield self.engine, letter, NotADatabase
        assert letter.read_text() == "Dear engine, " * 500

    def at_rest(self) -> AbstractContextManager[None]:
        return nullcontext()

    @contextmanager
    def service(self) -> Iterator[int]:
        with databases.service(self.database) as process:
            yield process.pid

    def delete(self) -> None:
        self.database.unlink()

    def discard(self) -> None:
        pass

    def damaged(self, copy: bytes, how: str) -> bytes:
        return {
            "truncated": copy[: len(copy) // 2],
            "zeroed": copy[:4096] + bytes(4096) + copy[8192:],
            "another file": b"nothing of the kind" * 1000,
        }[how]


@dataclass
class PostgresCase:
    directory: Path
    servers: dict[int, Server]
    server: Server
    another_kind: str = "sqlite:////srv/gym.db"

    def __post_init__(self) -> None:
        self.url = self.server.url()
        self.engine: Engine = PostgresEngine(self.url, position_of=POSITION)
        self.database = self.server.data.resolve()
        with self.server.connect() as connection:
            for name in ("notes", "operations", "alembic_version"):
                connection.execute(f"DROP TABLE IF EXISTS {name}")
            connection.execute("CREATE TABLE operations (sequence bigint PRIMARY KEY, id text UNIQUE)")
            connection.execute(
                "CREATE TABLE notes (id bigint PRIMARY KEY, operation bigint REFERENCES operations, text text, extra bytea)"
            )
            connection.execute("CREATE INDEX notes_by_text ON notes (text)")
            connection.execute("CREATE TABLE alembic_version (version_num text PRIMARY KEY)")
            connection.execute("INSERT INTO alembic_version VALUES ('0002')")
        self.write(200)

    def write(self, rows: int) -> None:
        with self.server.connect() as connection, connection.transaction():
            row = connection.execute("SELECT coalesce(max(sequence), 0) FROM operations").fetchone()
            first = row[0] + 1 if row else 1
            last = first + rows - 1
            connection.execute(
                "INSERT INTO operations SELECT n, md5(n::text) FROM generate_series(%s::int, %s::int) n", (first, last)
            )
            connection.execute(
                "INSERT INTO notes SELECT n, n, 'note ' || n, '\\x00ff' FROM generate_series(%s::int, %s::int) n",
                (first, last),
            )

    def contents(self) -> Any:
        with self.server.connect() as connection:
            return measured(connection)

    def copied(self, copy: Path) -> Any:
        return {name: (one.rows, one.digest) for name, one in self.engine.content(copy).items()}

    def missing(self) -> tuple[Engine, Path, str]:
        url = self.server.url("none")
        return PostgresEngine(url), self.database, f"{self.server.port}/none"

    @contextmanager
    def nonsense(self) -> Iterator[tuple[Engine, Path, type[BackupError]]]:
        with socket.create_server((HOST, 0)) as letter_box:
            threading.Thread(target=_answer, args=(letter_box,), daemon=True).start()
            url = f"postgresql://gym@{HOST}:{letter_box.getsockname()[1]}/letter.txt"
            yield PostgresEngine(url), self.database, ServerAway

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        self.server.stop()
        try:
            yield
        finally:
            self.server.start()

    @contextmanager
    def service(self) -> Iterator[int]:
        assert self.server.process is not None
        yield self.server.process.pid

    def delete(self) -> None:
        shutil.rmtree(self.server.data)

    def discard(self) -> None:
        self.servers.pop(self.server.programs.major).close()

    def damaged(self, copy: bytes, how: str) -> bytes:
        table = copy.index(b"note 17\0" if b"note 17\0" in copy else b"note 17")
        return {
            "truncated": copy[: len(copy) // 2],
            "zeroed": copy[: table // 8192 * 8192] + bytes(8192) + copy[table // 8192 * 8192 + 8192 :],
            "another file": b"nothing of the kind" * 1000,
        }[how]


def _answer(letter_box: socket.socket) -> None:
    while True:
        try:
            caller, _ = letter_box.accept()
        except OSError:
            return
        with caller:
            caller.sendall(b"Dear engine, this is a letter and no database.\n")


def measured(connection: psycopg.Connection[Any]) -> dict[str, tuple[int, str]]:
    return {name: (one.rows, one.digest) for name, one in measuring.content(connection).items()}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Server]]:
    """A server of each major version that has been asked for."""
    with ExitStack() as stack:
        started: dict[int, Server] = _Servers(stack, tmp_path_factory)
        yield started


class _Servers(dict[int, Server]):
    def __init__(self, stack: ExitStack, places: pytest.TempPathFactory) -> None:
        super().__init__()
        self._stack = stack
        self._places = places

    def __missing__(self, major: int) -> Server:
        place = self._places.mktemp(f"pg{major}") / "server"
        self[major] = self._stack.enter_context(running(place, free_ports(1)[0], binaries(major)))
        return self[major]


@pytest.fixture(
    params=[
        "sqlite-wal",
        "sqlite-rollback",
        *(pytest.param(f"postgres-{major}", marks=pytest.mark.processes) for major in MAJORS),
    ]
)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    kind, _, which = request.param.partition("-")
    if kind == "sqlite":
        return SqliteCase(tmp_path, "wal" if which == "wal" else "delete")
    servers = request.getfixturevalue("servers")
    return PostgresCase(tmp_path, servers, servers[int(which)])


def test_the_matrix_has_the_versions_of_the_wheel() -> None:
    assert {16, 18} <= set(MAJORS)


def taken(case: Case, into: Path) -> Facts:
    return take(case.engine, case.database, into).facts


def test_path_of_understands_urls_and_paths_alike(case: Case) -> None:
    assert case.engine.path_of(case.url) == case.engine.path_of(str(case.database)) == case.database


def test_path_of_refuses_a_database_of_another_kind(case: Case) -> None:
    with pytest.raises(UsageError):
        case.engine.path_of(case.another_kind)


def test_a_missing_database_is_named(case: Case, tmp_path: Path) -> None:
    engine, missing, named = case.missing()
    with pytest.raises(NoSuchDatabase, match=named):
        engine.size_bytes(missing)
    with pytest.raises(NoSuchDatabase, match=named):
        take(engine, missing, tmp_path / "copy")
    assert missing == case.database or not missing.exists()


def test_something_else_is_not_a_database(case: Case, tmp_path: Path) -> None:
    with case.nonsense() as (engine, something, refusal), pytest.raises(refusal, match=r"letter\.txt"):
        take(engine, something, tmp_path / "copy")


def test_a_copy_is_faithful_and_its_facts_tell_rows_revision_and_position(case: Case, tmp_path: Path) -> None:
    facts = taken(case, tmp_path / "copy")
    assert facts.tables["operations"].rows == facts.tables["notes"].rows == 200
    assert (facts.revision, facts.position, facts.foreign_key_violations) == ("0002", 200, 0)
    assert case.engine.check(tmp_path / "copy", facts, deep=True) == ()
    assert case.copied(tmp_path / "copy") == case.contents()


def test_a_snapshot_leaves_the_database_as_it_was(case: Case, tmp_path: Path) -> None:
    before = case.contents()
    taken(case, tmp_path / "copy")
    assert case.contents() == before


def test_equal_content_has_equal_facts_and_other_content_has_others(case: Case, tmp_path: Path) -> None:
    first, again = taken(case, tmp_path / "first"), taken(case, tmp_path / "again")
    case.write(1)
    assert first == again
    assert taken(case, tmp_path / "other").tables["notes"] != first.tables["notes"]


def test_the_older_copy_differs_from_the_newer_facts_in_sentences(case: Case, tmp_path: Path) -> None:
    taken(case, tmp_path / "older")
    case.write(5)
    findings = case.engine.check(tmp_path / "older", taken(case, tmp_path / "newer"), deep=False)
    assert "Table notes has 200 rows, and the manifest says 205." in findings
    assert "The position is 200, and the manifest says 205." in findings


@pytest.mark.parametrize("damage", ["truncated", "zeroed", "another file"])
def test_a_damaged_copy_is_found_out(case: Case, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "copy"
    facts = taken(case, copy)
    copy.write_bytes(case.damaged(copy.read_bytes(), damage))
    assert case.engine.check(copy, facts, deep=True) != ()


def test_members_begin_with_the_database_and_need_not_exist(case: Case) -> None:
    members = case.engine.members(case.database)
    assert members[0] == case.database
    assert len(set(members)) == len(members)


def test_holders_are_the_processes_that_have_it_open(case: Case) -> None:
    with case.at_rest():
        assert case.engine.holders(case.database) == ()
    with case.service() as pid:
        assert [holder.pid for holder in case.engine.holders(case.database)] == [pid]


def test_reopen_accepts_the_database_and_names_what_another_one_lacks(case: Case, tmp_path: Path) -> None:
    facts = taken(case, tmp_path / "copy")
    assert case.engine.reopen(tmp_path / "copy", facts) == ()
    case.write(2000)
    taken(case, tmp_path / "other")
    assert case.engine.reopen(tmp_path / "other", facts) != ()


def test_progress_can_stop_the_work(case: Case, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    facts = taken(case, copy)

    def stop(done_bytes: int, total_bytes: int, phase: str, /) -> None:
        raise BackupError(f"stopped in {phase} at {done_bytes} of {total_bytes}")

    with pytest.raises(BackupError, match="stopped in"):
        take(case.engine, case.database, tmp_path / "large", stop)
    assert case.engine.check(copy, facts, deep=False) == ()


def test_holders_are_found_when_the_database_was_deleted_under_them(case: Case) -> None:
    try:
        with case.service() as pid:
            case.delete()
            assert [holder.pid for holder in case.engine.holders(case.database)] == [pid]
    finally:
        case.discard()
