"""Level 5: a service booted on a restored copy is compared with what storage held, and every way of differing is found."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pysqlite3.dbapi2 as sqlite
import pytest
from click.testing import CliRunner, Result

from backups.backup import run_backup
from backups.errors import UsageError
from backups.keeping import catalogue as catalogues
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from backups.verify import verify
from ci.cli import gymkhana
from ci.rehearsal import KINDS, Rehearsal
from migrations import revisions
from migrations.errors import NotOurs
from system.database import SCHEMA_REVISION
from tests.system.gym import SqliteGym, busy_day

pytestmark = pytest.mark.processes

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with rows of every kind, at this code's schema."""
    path = tmp_path_factory.mktemp("busy") / "gym.db"
    revisions.upgrade(f"sqlite:///{path}")
    gym = SqliteGym(path)
    busy_day(gym)
    gym.close()
    return path


@pytest.fixture
def copy(busy: Path, tmp_path: Path) -> Make:
    """Makes a copy as a restore would leave it, after some statements."""

    def make(*statements: str) -> Path:
        path = tmp_path / "scratch" / "database"
        path.parent.mkdir()
        shutil.copy(busy, path)
        with contextlib.closing(sqlite.connect(path)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        return path

    return make


@pytest.fixture
def store(busy: Path, tmp_path: Path) -> Path:
    """A store with one backup of the busy database."""
    run_backup(SqliteEngine(), str(busy), DirectoryStore(tmp_path / "store", make=True), demonstration=True)
    return tmp_path / "store"


def gymkhana_says(*words: str) -> Result:
    return CliRunner().invoke(gymkhana, ["backup", *words])


def test_a_good_copy_shows_every_kind_of_row_as_storage_holds_it(copy: Make) -> None:
    rehearsal = Rehearsal()
    assert rehearsal(copy()) == ()
    assert rehearsal.serving_s is not None
    assert rehearsal.reads >= 2 * len(KINDS)
    assert len(set(rehearsal.digests.values())) == len(KINDS), "some kind of row was not read at all"


def test_the_same_copy_gives_the_same_digests(copy: Make, busy: Path, tmp_path: Path) -> None:
    first, second = Rehearsal(seed=7), Rehearsal(seed=7)
    again = tmp_path / "again"
    again.mkdir()
    assert first(copy()) == second(Path(shutil.copy(busy, again / "database"))) == ()
    assert first.digests == second.digests


SABOTAGE = {
    "other words": (
        "CREATE TRIGGER t AFTER INSERT ON user_sessions BEGIN UPDATE users SET bio = bio || '!'; END",
        "Of the users that the service shows, 4 differ from storage: ",
        "(bio)",
    ),
    "a row gone": (
        "CREATE TRIGGER t AFTER INSERT ON user_sessions BEGIN DELETE FROM notifications; END",
        "Of the notifications that the service shows, ",
        "(not listed)",
    ),
    "another digest": (
        "CREATE TRIGGER t AFTER INSERT ON user_sessions BEGIN UPDATE operations SET digest = 'x' WHERE actor_id = 1; END",
        "Of the operations that the service shows, ",
        "(digest)",
    ),
    "a broken table": (
        "ALTER TABLE challenges RENAME COLUMN stake TO steak",
        "Its schema is not what its revision says: ",
        "stake",
    ),
    "a forgotten write": (
        "CREATE TRIGGER t AFTER INSERT ON activity WHEN NEW.kind = 'users.edited' BEGIN UPDATE users SET bio = ''; END",
        "The service forgot a write that it had acknowledged.",
        "",
    ),
    "no writes": (
        "CREATE TRIGGER t BEFORE INSERT ON activity BEGIN SELECT RAISE(ABORT, 'full'); END",
        "The service does not take a write on it: it answered ",
        "",
    ),
    "no service": (
        "CREATE TRIGGER t BEFORE INSERT ON health_beats BEGIN SELECT RAISE(ABORT, 'full'); END",
        "The service did not become ready on it: ",
        "",
    ),
}


@pytest.mark.parametrize("what", SABOTAGE)
def test_whatever_the_service_shows_otherwise_is_found(copy: Make, what: str) -> None:
    statement, begins, holds = SABOTAGE[what]
    findings = Rehearsal()(copy(statement))
    assert findings, "it was taken for good"
    assert findings[0].startswith(begins)
    assert holds in findings[0]


def test_a_copy_older_than_the_code_is_brought_up_first(tmp_path: Path) -> None:
    path = tmp_path / "database"
    revisions.upgrade(f"sqlite:///{path}", "0001")
    rehearsal = Rehearsal()
    assert rehearsal(path) == ()
    assert rehearsal.migrated[-1] == SCHEMA_REVISION


def test_another_database_is_refused_and_nothing_is_said_of_the_backup(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.commit()
    store = DirectoryStore(tmp_path / "store", make=True)
    run_backup(SqliteEngine(), str(path), store, demonstration=True)
    with pytest.raises(NotOurs, match="not a database of this service"):
        verify(store, level=5, boot=Rehearsal())
    (entry,) = catalogues.read(store).entries
    assert (entry.state, entry.verifications) == ("complete", ())


def test_level_5_needs_somebody_who_can_boot(store: Path) -> None:
    with pytest.raises(UsageError, match="go from 0 to 4"):
        verify(DirectoryStore(store), level=5)


def test_a_rehearsal_is_recorded_with_its_time_and_not_repeated_before_it_is_due(store: Path) -> None:
    first = gymkhana_says("rehearse", "--store", str(store), "--in", str(store.parent / "elsewhere"))
    assert first.exit_code == 0, first.output
    assert "reads compared, one write read back" in first.output
    (entry,) = catalogues.read(DirectoryStore(store)).entries
    (look,) = entry.verifications
    assert (entry.state, look.level, look.ok) == ("rehearsed", 5, True)
    assert look.seconds > 0
    assert look.content
    assert not list((store.parent / "elsewhere").rglob("gym.db*")), "the copy is thrown away"
    again = gymkhana_says("rehearse", "--store", str(store), "--if-older", "7d")
    assert again.exit_code == 0
    assert again.output.startswith("Not due: a backup was rehearsed at 20")
    assert len(catalogues.read(DirectoryStore(store)).entries[0].verifications) == 1
    time.sleep(1.1)
    due = gymkhana_says("rehearse", "--store", str(store), "--if-older", "1s", "--json")
    assert due.exit_code == 0, due.output
    assert len(catalogues.read(DirectoryStore(store)).entries[0].verifications) == 2


def test_a_bad_backup_fails_its_rehearsal(store: Path) -> None:
    (pack,) = store.glob("objects/*/pack-0000")
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    result = gymkhana_says("rehearse", "--store", str(store))
    assert result.exit_code == 1
    assert "BAD: " in result.output
    assert catalogues.read(DirectoryStore(store)).entries[0].fault
