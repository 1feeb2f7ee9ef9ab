"""Revisions on PostgreSQL: each one transaction, alone, whole or not at all, whoever dies or comes in between."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from sqlalchemy import inspect

from backups.postgres.server import Server
from ci import cli
from migrations import revisions
from migrations.errors import DatabaseBusy, NewerSchema, NotADatabase, NotOurs, RevisionFailed
from migrations.line import line
from system import seed
from system.database import engine_for
from system.models import metadata

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
_NAMES = itertools.count(1)

Contents = dict[str, list[tuple[Any, ...]]]


class Place:
    """A database of the server, and a way past the migrations."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name
        self.url = server.url(name)

    def execute(self, *statements: str) -> None:
        with self.server.connect(self.name) as connection:
            for statement in statements:
                connection.execute(statement)

    def contents(self, without: tuple[str, ...] = ()) -> Contents:
        engine = engine_for(self.url, pooled=False)
        with engine.connect() as connection:
            found = inspect(connection)
            tables = sorted(set(found.get_table_names()) - {"alembic_version"})
            columns = {
                table: [one["name"] for one in found.get_columns(table) if one["name"] not in without]
                for table in tables
            }
        with self.server.connect(self.name) as raw:
            return {
                table: raw.execute(f"SELECT {', '.join(sorted(names))} FROM {table} ORDER BY 1, 2").fetchall()
                for table, names in columns.items()
            }

    @contextmanager
    def copy(self) -> Iterator[Place]:
        """Another database of the same content, for as long as the block runs."""
        name = f"migrations_{next(_NAMES)}"
        with self.server.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self.name}"')
        try:
            yield Place(self.server, name)
        finally:
            with self.server.connect("postgres") as connection:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def empty(postgres: Server) -> Iterator[Place]:
    name = f"migrations_{next(_NAMES)}"
    postgres.create_database(name)
    yield Place(postgres, name)
    with postgres.connect("postgres") as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def filled(empty: Place) -> Place:
    """At the newest revision, with a population."""
    revisions.upgrade(empty.url)
    engine = engine_for(empty.url, writer=True, pooled=False)
    seed.seed(engine, users_count=10, tournaments_count=2, matches_count=9, run="r", seed=7, now_ms=1_700_000_000_000)
    return empty


@pytest.fixture
def older(filled: Place) -> Place:
    """The same, taken back to the first revision with its data in it."""
    revisions.downgrade(filled.url, "0001")
    return filled


def filled_tables(contents: Contents) -> Contents:
    """Without the tables that have no row: a revision may make one, and fills none."""
    return {name: rows for name, rows in contents.items() if rows}


def test_up_from_nothing_is_what_the_models_say(empty: Place) -> None:
    assert revisions.current(empty.url) is None
    applied = revisions.upgrade(empty.url)
    assert [one.id for one in applied] == ["0001", "0002", "0003", "0004", "0005", "0006"]
    assert revisions.check(empty.url) == ()
    assert revisions.upgrade(empty.url) == ()
    assert not revisions.holds_data(empty.url)


@pytest.mark.parametrize(
    ("drift", "said"),
    [
        ("ALTER TABLE users DROP COLUMN bio", "add column users.bio"),
        ("DROP INDEX ix_activity_kind", "ix_activity_kind"),
        ("ALTER TABLE points_accounts DROP CONSTRAINT ck_points_accounts_not_overdrawn", "not_overdrawn"),
        ("ALTER TABLE users ALTER COLUMN bio DROP NOT NULL", "nullable"),
        ("ALTER TABLE match_events DROP CONSTRAINT fk_match_events_match_id", "fk_match_events_match_id"),
    ],
)
def test_check_names_each_drift(empty: Place, drift: str, said: str) -> None:
    revisions.upgrade(empty.url)
    empty.execute(drift)
    assert said in " ".join(revisions.check(empty.url))


def test_down_and_up_again_changes_no_row_that_the_older_schema_could_hold(filled: Place) -> None:
    before = filled.contents(without=("display_name",))
    assert before["users"]
    revisions.downgrade(filled.url, "0001")
    revisions.upgrade(filled.url)
    assert filled.contents(without=("display_name",)) == before
    assert revisions.check(filled.url) == ()


def test_down_to_nothing_and_up_from_there(filled: Place) -> None:
    revisions.downgrade(filled.url, "base")
    assert revisions.current(filled.url) is None
    revisions.upgrade(filled.url)
    assert revisions.check(filled.url) == ()


def test_a_revision_that_fails_leaves_the_database_as_it_was(older: Place) -> None:
    older.execute("ALTER TABLE users ADD COLUMN display_name TEXT")
    before = older.contents()
    with pytest.raises(RevisionFailed, match="Nothing of it was kept"):
        revisions.upgrade(older.url)
    assert (revisions.current(older.url), older.contents()) == ("0001", before)


def test_a_database_that_an_earlier_0002_made_at_once_comes_to_the_same_schema(filled: Place) -> None:
    """That revision added the column with its rules in one go."""
    before = filled.contents()
    revisions.downgrade(filled.url, "0004")
    filled.execute("UPDATE alembic_version SET version_num = '0002'")
    assert [one.id for one in revisions.upgrade(filled.url)] == ["0003", "0004", "0005", "0006"]
    assert (revisions.check(filled.url), filled.contents()) == ((), before)


def test_newer_and_foreign_schemas_are_left_alone(filled: Place, postgres: Server) -> None:
    filled.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerSchema):
        revisions.upgrade(filled.url)
    filled.execute("DROP TABLE alembic_version")
    with pytest.raises(NotOurs):
        revisions.upgrade(filled.url)


def test_a_server_that_is_not_there_and_a_database_that_is_not_are_named(postgres: Server) -> None:
    for url, said in (
        (postgres.url("nowhere"), "does not exist"),
        (postgres.url().replace(str(postgres.port), "1"), "cannot be reached"),
    ):
        with pytest.raises(NotADatabase, match=said) as caught:
            revisions.upgrade(url)
        assert "\n" not in str(caught.value)


def test_a_table_in_use_is_not_waited_for_for_long(older: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else everybody who wants the table would wait behind the migration."""
    monkeypatch.setattr(revisions, "LOCK_TIMEOUT_MS", 200)
    with older.server.connect(older.name) as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM users")
        with pytest.raises((DatabaseBusy, RevisionFailed), match="lock"):
            revisions.upgrade(older.url)
    assert revisions.current(older.url) == "0001"
    revisions.upgrade(older.url)


def test_of_two_migrators_at_once_each_revision_is_applied_by_one(empty: Place) -> None:
    applied: list[str] = []
    start = threading.Barrier(4)

    def migrate() -> None:
        start.wait()
        applied.extend(one.id for one in revisions.upgrade(empty.url))

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == ["0001", "0002", "0003", "0004", "0005", "0006"]
    assert revisions.check(empty.url) == ()


@pytest.fixture
def ending() -> Iterator[Callable[[str], Callable[[int, str], str]]]:
    """A process that forks upgrades and ends each before the statement it is told, in the way that is asked for."""
    started: list[subprocess.Popen[str]] = []

    def start(how: str) -> Callable[[int, str], str]:
        command = [sys.executable, "-m", "tests.migrations.forked", "end", how]
        process = subprocess.Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True)
        started.append(process)

        def end(statement: int, url: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{statement} {url}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        return end

    yield start
    for process in started:
        process.communicate(timeout=30)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("how", "said"), [("kill", "killed"), ("terminate", "refused")])
def test_ended_before_any_statement_it_is_whole_and_goes_on(
    older: Place, ending: Callable[[str], Callable[[int, str], str]], how: str, said: str
) -> None:
    """kill -9 of the migrator, or the end of its session, before each statement and each commit of the revisions."""
    end = ending(how)
    without = ("display_name",)
    before = filled_tables(older.contents(without=without))
    revisions.upgrade(older.url)
    wanted = older.contents()
    revisions.downgrade(older.url, "0001")
    found: list[str | None] = []
    for statement in itertools.count():
        with older.copy() as copy:
            outcome = end(statement, copy.url)
            assert filled_tables(copy.contents(without=without)) == before
            if outcome == "done":
                break
            assert outcome == said
            at = revisions.current(copy.url)
            revisions.upgrade(copy.url)
            assert (revisions.current(copy.url), copy.contents()) == (line()[-1].id, wanted)
            assert at in found or revisions.check(copy.url) == ()  # once a revision: it takes longer than all the rest
            found.append(at)
    assert found == sorted(found, key=str), "who is ended later has come as far"
    assert {"0001", "0002", "0003"} <= set(found)
    assert len(found) > 40, "the statements of the revisions, and what they begin with"


def test_the_command_migrates_a_server(empty: Place, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--database", empty.url]
    assert cli.run(["migrate", "up", "--dry-run", *words]) == 0
    assert "CREATE TABLE users" in capsys.readouterr().out
    assert revisions.current(empty.url) is None
    assert cli.run(["migrate", "up", *words]) == 0
    assert cli.run(["migrate", "check", *words]) == 0
    assert cli.run(["migrate", "down", "0001", *words]) == 0
    assert "is at 0001" in capsys.readouterr().out


def test_a_password_is_never_shown(empty: Place, capsys: pytest.CaptureFixture[str]) -> None:
    url = empty.url.replace("gym@", "gym:hunter2@")
    for words in (["status"], ["status", "--json"], ["up"], ["up", "--dry-run"]):
        cli.run(["migrate", *words, "--database", url])
    said = capsys.readouterr()
    assert "hunter2" not in said.out + said.err


def test_every_table_of_the_models_is_made_by_a_revision(empty: Place) -> None:
    revisions.upgrade(empty.url)
    assert set(empty.contents()) == set(metadata.tables)
