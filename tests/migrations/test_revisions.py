"""Moving real databases: up from nothing, up and down with data in them, and not at all when they are not ours."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

import system.database
from migrations import revisions
from migrations.errors import DatabaseBusy, NewerSchema, NotADatabase, NotOurs, RevisionFailed
from migrations.line import Revision, configuration
from system.database import engine_for, sqlite_path
from system.models import metadata
from tests.migrations import databases

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
ABORT = "CREATE TRIGGER stop BEFORE UPDATE ON users BEGIN SELECT RAISE(ABORT, 'planted'); END"


def ids(moved: tuple[Revision, ...]) -> list[str]:
    return [one.id for one in moved]


def test_there_is_a_single_head() -> None:
    assert len(ScriptDirectory.from_config(configuration()).get_heads()) == 1


def test_up_from_nothing(empty: str) -> None:
    told: list[Revision] = []
    assert revisions.current(empty) is None
    assert not sqlite_path(empty).exists(), "looking makes nothing"
    assert ids(revisions.upgrade(empty, told=told.append)) == ["0001", "0002", "0003", "0004", "0005", "0006"]
    assert ids(tuple(told)) == ["0001", "0002", "0003", "0004", "0005", "0006"]
    assert revisions.current(empty) == "0006"
    assert revisions.upgrade(empty) == ()
    assert not revisions.holds_data(empty)


def test_the_schema_is_the_models_to_the_letter(empty: str, tmp_path: Path) -> None:
    """Compared as SQLite keeps it, so that checks and the order of columns count too."""
    revisions.upgrade(empty)
    made = f"sqlite:///{tmp_path / 'made.db'}"
    engine = engine_for(made, writer=True, pooled=False)
    metadata.create_all(engine)
    engine.dispose()
    assert databases.schema(empty) == databases.schema(made)
    assert revisions.check(empty) == ()


@pytest.mark.parametrize(
    ("drift", "said"),
    [
        ("ALTER TABLE users ADD COLUMN nickname TEXT", "remove column users.nickname"),
        ("ALTER TABLE users DROP COLUMN bio", "add column users.bio"),
        ("DROP INDEX ix_users_operation_id", "add index ix_users_operation_id on users"),
        ("DROP TABLE health_beats", "add table health_beats"),
        ("CREATE TABLE notes (id INTEGER PRIMARY KEY)", "remove table notes"),
    ],
)
def test_check_names_each_drift(empty: str, drift: str, said: str) -> None:
    revisions.upgrade(empty)
    databases.execute(empty, drift)
    (found,) = revisions.check(empty)
    assert said in found


def test_check_sees_rules_and_types_that_changed(empty: str) -> None:
    revisions.upgrade(empty)
    databases.execute(
        empty,
        "DROP TABLE points_accounts",
        "CREATE TABLE points_accounts (id INTEGER PRIMARY KEY NOT NULL, kind VARCHAR(10), owner_id INTEGER NOT NULL, "
        "balance TEXT NOT NULL, CONSTRAINT uq_points_accounts_kind_owner_id UNIQUE (kind, owner_id), "
        "CONSTRAINT ck_points_accounts_other CHECK (balance > 0))",
    )
    found = " | ".join(revisions.check(empty))
    assert "modify nullable of points_accounts.kind from True to False" in found
    assert "modify type of points_accounts.balance from TEXT" in found
    assert "the models check ck_points_accounts_not_overdrawn on points_accounts" in found
    assert "the database checks ck_points_accounts_other" in found


def test_check_of_an_older_database_names_its_revision(older: str) -> None:
    assert revisions.check(older) == ("the database is at revision 0001, and the code expects 0006",)


def test_down_and_up_again_changes_no_row_that_the_older_schema_could_hold(older: str) -> None:
    before = databases.rows(older)
    assert all("display_name" not in user for user in before["users"])
    assert len(before["users"]) == 30
    assert ids(revisions.upgrade(older)) == ["0002", "0003", "0004", "0005", "0006"]
    up = databases.rows(older)
    assert [user["display_name"] for user in up["users"]] == [user["name"] for user in up["users"]]
    assert ids(revisions.downgrade(older, "0001")) == ["0006", "0005", "0004", "0003", "0002"]
    assert databases.rows(older) == before
    revisions.upgrade(older)
    assert databases.rows(older) == up


def test_nothing_but_the_display_names_changes_on_the_way(filled: str) -> None:
    before = databases.contents(filled)
    revisions.downgrade(filled, "0001")
    revisions.upgrade(filled)
    after = databases.contents(filled)
    for user in (*before["users"], *after["users"]):
        del user["display_name"]
    assert after == before
    assert revisions.check(filled) == ()


def test_a_user_without_a_name_gets_a_display_name_all_the_same(older: str) -> None:
    databases.execute(older, "UPDATE users SET name = '' WHERE id = 5")
    revisions.upgrade(older)
    assert databases.contents(older)["users"][4]["display_name"] == "user 5"


def test_rows_are_filled_in_batches_each_a_transaction_of_its_own(older: str) -> None:
    """So that nobody waits for a large table; here the third batch fails, and the first two stay."""
    more = "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 3499) "
    databases.execute(
        older,
        f"INSERT INTO users (id, name, bio, password_hash, created_ms, operation_id) {more} "
        "SELECT i, 'n' || i, '', '', 0, '' FROM n",
        "CREATE TRIGGER stop BEFORE UPDATE ON users WHEN old.id = 3400 BEGIN SELECT RAISE(ABORT, 'planted'); END",
    )
    with pytest.raises(RevisionFailed, match="Batches before this one are kept"):
        revisions.upgrade(older)
    users = databases.contents(older)["users"]
    assert (revisions.current(older), sum(user["display_name"] is not None for user in users)) == ("0002", 2000)
    databases.execute(older, "DROP TRIGGER stop")
    revisions.upgrade(older)
    assert all(user["display_name"] for user in databases.contents(older)["users"])


def test_a_database_that_an_earlier_0002_made_at_once_comes_to_the_same_schema(filled: str) -> None:
    """That revision added the column with its rules in one go."""
    before = (databases.contents(filled), databases.schema(filled))
    revisions.downgrade(filled, "0004")
    databases.execute(filled, "UPDATE alembic_version SET version_num = '0002'")
    assert ids(revisions.upgrade(filled)) == ["0003", "0004", "0005", "0006"]
    assert (databases.contents(filled), databases.schema(filled)) == before


def test_down_to_nothing_and_up_from_there(filled: str) -> None:
    assert ids(revisions.downgrade(filled, "base")) == ["0006", "0005", "0004", "0003", "0002", "0001"]
    assert revisions.current(filled) is None
    assert databases.contents(filled) == {}
    revisions.upgrade(filled)
    assert revisions.check(filled) == ()


def test_a_revision_that_fails_leaves_the_database_as_it_was(older: str) -> None:
    databases.execute(older, ABORT)
    revisions.upgrade(older, "0002")
    before, schema = databases.contents(older), databases.schema(older)
    with pytest.raises(RevisionFailed, match=r"Revision 0003 .* could not fill rows of .*gym\.db: planted\. Batches"):
        revisions.upgrade(older)
    assert revisions.current(older) == "0002"
    assert (databases.contents(older), databases.schema(older)) == (before, schema)
    databases.execute(older, "DROP TRIGGER stop")
    assert ids(revisions.upgrade(older)) == ["0003", "0004", "0005", "0006"]


def test_rows_that_point_to_nothing_stop_a_revision(older: str) -> None:
    databases.execute(older, "DELETE FROM users WHERE id = 3")
    before = databases.contents(older)
    with pytest.raises(RevisionFailed, match="pointing to nothing"):
        revisions.upgrade(older)
    assert revisions.current(older) == "0001"
    assert databases.contents(older) == before


def test_a_database_of_a_newer_schema_is_left_alone(filled: str) -> None:
    databases.execute(filled, "UPDATE alembic_version SET version_num = '0099'")
    for act in (revisions.upgrade, revisions.current, lambda url: revisions.downgrade(url, "base")):
        with pytest.raises(NewerSchema, match="revision 0099"):
            act(filled)


def test_tables_of_somebody_else_are_left_alone(empty: str) -> None:
    databases.execute(empty, "CREATE TABLE letters (text)")
    for act in (revisions.upgrade, revisions.current):
        with pytest.raises(NotOurs, match="letters"):
            act(empty)
    assert databases.contents(empty) == {"letters": []}


def test_a_file_that_is_no_database_is_left_alone(empty: str) -> None:
    sqlite_path(empty).write_text("Dear database, " * 100)
    for act in (revisions.upgrade, revisions.current, revisions.holds_data):
        with pytest.raises(NotADatabase, match="is not a SQLite database"):
            act(empty)
    assert sqlite_path(empty).read_text().startswith("Dear database")


def test_a_place_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADatabase, match="cannot be opened"):
        revisions.upgrade(f"sqlite:///{tmp_path / 'none' / 'gym.db'}")


def test_a_locked_database_is_said_to_be_locked(older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system.database, "BUSY_TIMEOUT_MS", 10)
    with closing(databases.connect(older)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy, match="locked by another process"):
            revisions.upgrade(older)
    assert ids(revisions.upgrade(older)) == ["0002", "0003", "0004", "0005", "0006"]


def test_the_statements_can_be_read_beforehand_and_do_the_same(empty: str, older: str, tmp_path: Path) -> None:
    revisions.upgrade(empty)
    by_hand = f"sqlite:///{tmp_path / 'hand.db'}"
    with closing(databases.connect(by_hand)) as database:
        database.executescript(revisions.sql(by_hand, None, "head"))
    assert databases.schema(by_hand) == databases.schema(empty)
    with closing(databases.connect(older)) as database:
        database.executescript(revisions.sql(older, "0001", "head"))
    assert revisions.current(older) == "0006"
    assert revisions.check(older) == ()
    with closing(databases.connect(older)) as database:
        database.executescript(revisions.sql(older, "0006", "base"))
    assert databases.contents(older) == {}


def forked(*arguments: object) -> list[str]:
    command = [sys.executable, "-m", "tests.migrations.forked", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told: list[str] = json.loads(done.stdout)
    return told


def test_killed_before_any_statement_it_is_whole_and_can_go_on(older: str, tmp_path: Path) -> None:
    """kill -9 before each statement of the revisions in turn, the commits included."""
    before = databases.rows(older)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    *killed, finished = forked("kill", sqlite_path(older), scratch)
    wanted, schema = databases.rows(finished), databases.schema(finished)
    found = {url: str(revisions.current(url)) for url in killed}
    assert list(found.values()) == sorted(found.values()), "who is killed later has come as far"
    assert set(found.values()) == {"0001", "0002", "0003", "0004", "0005", "0006"}, (
        "the last ones come after the last commit"
    )
    assert len(found) > 30, "the statements of the revisions"
    for url, revision in found.items():
        left = databases.rows(url)
        if revision in ("0003", "0004", "0005", "0006"):
            assert left == wanted
        for user in left["users"]:
            user.pop("display_name", None)
        assert left == before
        revisions.upgrade(url)
        assert (databases.rows(url), databases.schema(url)) == (wanted, schema)
    assert revisions.check(finished) == ()


def test_of_two_migrators_at_once_each_revision_is_applied_by_one(empty: str) -> None:
    first, second = forked("race", empty)
    assert sorted([*first, *second]) == ["0001", "0002", "0003", "0004", "0005", "0006"]
    assert revisions.check(empty) == ()
