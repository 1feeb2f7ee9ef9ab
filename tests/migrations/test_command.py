"""`gymkhana migrate`, as a person or a pipeline uses it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from backups import verify
from backups.errors import InUse, Locked, NotSeparate
from backups.format.verification import Verification
from backups.lock import hold
from ci.cli import gymkhana
from ci.commands.migrate import MigrationStopped
from migrations import revisions
from migrations.errors import BadRequest, NewerSchema
from system.database import sqlite_path
from tests.backups.databases import service
from tests.migrations import databases
from tests.migrations.test_revisions import ABORT, ROOT

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, and nothing in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "GYM_ENV", "GYM_STORE", "GYM_STORE_DEMO"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(gymkhana, ["migrate", *arguments])


def done(*arguments: str) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def ask(*arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(done(*arguments, "--json"))
    return answer


def refused(kind: type[Exception], *arguments: str) -> str:
    """The one sentence with which the command refuses; turning it into an exit code is the command line's business."""
    error = invoke(*arguments).exception
    assert type(error) is kind, error
    assert "\n" not in str(error)
    return str(error)


def test_a_new_database_is_made_without_a_backup(place: Path) -> None:
    moved = ask("up")
    assert ([one["id"] for one in moved["moved"]], moved["revision"], moved["backup"]) == (
        ["0001", "0002", "0003", "0004", "0005", "0006"],
        "0006",
        None,
    )
    assert [path.name for path in (place / "var").iterdir()] == ["gym.db"]
    assert "already; nothing was done" in done("up")
    assert done("check") == "The schema is what the code expects.\n"


def test_data_is_backed_up_and_proven_before_it_is_migrated(older: str) -> None:
    moved = ask("up", "--database", older, "--store", "store", "--demo")
    assert [one["id"] for one in moved["moved"]] == ["0002", "0003", "0004", "0005", "0006"]
    listed = json.loads(CliRunner().invoke(gymkhana, ["backup", "list", "--store", "store", "--json"]).stdout)[
        "backups"
    ]
    assert [(one["id"], one["state"], one["revision"]) for one in listed] == [(moved["backup"], "verified", "0001")]


def test_without_a_safe_place_for_the_backup_nothing_is_migrated(older: str) -> None:
    assert "--demo" in refused(NotSeparate, "up", "--database", older)
    assert revisions.current(older) == "0001"


def test_a_failed_upgrade_says_how_to_get_back_and_that_way_works(older: str) -> None:
    databases.execute(older, ABORT)
    before = databases.contents(older)
    said = refused(MigrationStopped, "up", "--database", older, "--store", "the store", "--demo")
    assert "Revision 0003" in said
    assert "at 0002, whole" in said
    words = shlex.split(said.partition("to put it back as it was: ")[2].removesuffix("."))
    assert words[:3] == ["gymkhana", "backup", "restore"]
    databases.execute(older, "DELETE FROM match_events", "DROP TRIGGER stop", "UPDATE users SET bio = 'spoilt'")
    restored = CliRunner().invoke(gymkhana, [*words[1:], "--yes"])
    assert restored.exit_code == 0, restored.output
    assert databases.contents(older) == before


def test_going_down_is_backed_up_as_well_and_names_the_way_back(filled: str) -> None:
    said = done("down", "0001", "--database", filled, "--store", "store", "--demo")
    assert "is at 0001, after 0006, 0005, 0004, 0003, 0002." in said
    assert "gymkhana backup restore --database" in said
    assert "display_name" not in databases.contents(filled)["users"][0]


def test_a_bad_backup_stops_everything(older: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = verify.verify

    def bad(*arguments: Any, **options: Any) -> Verification:
        return msgspec.structs.replace(real(*arguments, **options), ok=False, findings=("planted.",))

    monkeypatch.setattr(verify, "verify", bad)
    assert "planted" in refused(MigrationStopped, "up", "--database", older, "--demo")
    assert revisions.current(older) == "0001"


@pytest.mark.parametrize(("verb", "to"), [("up", "head"), ("down", "base")])
def test_a_dry_run_prints_the_statements_and_changes_nothing(older: str, verb: str, to: str) -> None:
    before = databases.contents(older)
    said = done(verb, to, "--database", older, "--dry-run")
    assert "BEGIN;" in said
    assert "COMMIT;" in said
    plan = ask(verb, to, "--database", older, "--dry-run")
    assert plan["sql"] == said
    moved = ["0002", "0003", "0004", "0005", "0006"] if verb == "up" else ["0001"]
    assert [one["id"] for one in plan["would_move"]] == moved
    assert (revisions.current(older), databases.contents(older)) == ("0001", before)
    assert not Path("var").exists()


def test_a_dry_run_of_nothing_says_so(filled: str, place: Path) -> None:
    assert "nothing would be done" in done("up", "--database", filled, "--dry-run")
    assert "CREATE TABLE users" in done("up", "--dry-run")
    assert not (place / "var").exists()


def test_status_tells_what_is_pending(older: str, place: Path) -> None:
    assert [one["id"] for one in ask("status", "--database", older)["pending"]] == [
        "0002",
        "0003",
        "0004",
        "0005",
        "0006",
    ]
    assert "pending   0002  Users may have a display name" in done("status", "--database", older)
    assert "revision  none of 0006" in done("status")
    assert not (place / "var").exists(), "asking makes nothing"


def test_check_exits_with_1_when_the_schema_differs(older: str) -> None:
    result = invoke("check", "--database", older)
    assert (result.exit_code, "expects 0006" in result.stdout) == (1, True)
    document = json.loads(invoke("check", "--database", older, "--json").stdout)
    assert (document["ok"], len(document["differences"])) == (False, 1)


def test_history_lists_every_revision() -> None:
    assert [line.split()[0] for line in done("history").splitlines()] == [
        "0001",
        "0002",
        "0003",
        "0004",
        "0005",
        "0006",
    ]
    assert [one["id"] for one in ask("history")["revisions"]] == ["0001", "0002", "0003", "0004", "0005", "0006"]


def test_production_assumes_no_database_and_makes_no_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GYM_ENV", "prod")
    result = invoke("up")
    assert (result.exit_code, "DATABASE_URL" in result.stderr) == (2, True)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{place}/srv/gym.db")
    result = invoke("up")
    assert (result.exit_code, "There is no directory" in result.stderr) == (2, True)
    (place / "srv").mkdir()
    assert ask("up")["revision"] == "0006"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GYM_ENV", "staging", "dev or prod"),
        ("DATABASE_URL", "mysql://127.0.0.1:1/gym", "names neither"),
        ("DATABASE_URL", "sqlite://", "does not name a SQLite file"),
    ],
)
def test_a_wrong_environment_is_a_usage_error(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    result = invoke("status")
    assert (result.exit_code, said in result.stderr) == (2, True)


def test_a_newer_database_and_an_unknown_revision_are_refused(filled: str) -> None:
    assert "base, 0001, 0002, 0003, 0004, 0005, 0006 and head" in refused(
        BadRequest, "up", "0009", "--database", filled
    )
    databases.execute(filled, "UPDATE alembic_version SET version_num = '0099'")
    for verb in (("up",), ("down", "base"), ("status",), ("check",)):
        assert "revision 0099" in refused(NewerSchema, *verb, "--database", filled)


def test_who_comes_second_is_told_who_came_first(older: str) -> None:
    with hold(sqlite_path(older).with_name("gym.db.migrating"), "migration of gym.db"):
        assert "migration of gym.db" in refused(Locked, "up", "--database", older, "--demo")
    assert revisions.current(older) == "0001"
    assert ask("up", "--database", older, "--demo")["revision"] == "0006"


def test_two_commands_at_once_end_with_one_migration(older: str, place: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ci.cli",
        "migrate",
        "up",
        "--database",
        older,
        "--store",
        f"{place}/store",
        "--demo",
    ]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=100) for process in both]
    codes = [process.returncode for process in both]
    assert 0 in codes
    for code, (out, errors) in zip(codes, said, strict=True):
        if code == 0:
            assert "is at 0006" in out
        else:
            assert (code, "is in use by" in errors) == (1, True)
    assert sum("after 0002, 0003, 0004, 0005, 0006" in out for out, _ in said) == 1
    assert revisions.check(older) == ()


def test_a_database_in_use_is_moved_up_one_revision_at_a_time_and_no_other_way(older: str) -> None:
    with service(sqlite_path(older)) as process:
        assert f"process {process.pid}" in refused(InUse, "up", "--database", older, "--demo")
        assert revisions.current(older) == "0001"
        assert ask("up", "0002", "--database", older, "--demo")["revision"] == "0002"
        assert f"process {process.pid}" in refused(InUse, "down", "0001", "--database", older, "--demo")
    assert revisions.current(older) == "0002"
