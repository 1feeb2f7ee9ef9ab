"""`kill -9` at every step: never a partial backup, never a damaged older one, never a blocked next run, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from backups import swap as swaps
from backups.backup import run_backup
from backups.errors import Locked, NoSpace, NothingToRestore
from backups.keeping import catalogue
from backups.restore import restore
from backups.sqlite.engine import SqliteEngine
from backups.sqlite.holders import holders_of
from backups.stores.directory import DirectoryStore
from backups.verify import verify
from tests.backups import databases, dying
from tests.backups.house import House

pytestmark = pytest.mark.processes


def die(verb: str, moment: str, house: House) -> None:
    command = [sys.executable, "-m", dying.__name__, verb, moment, str(house.database), house.store.address]
    ended = subprocess.run(command, check=False, timeout=60, cwd=databases.ROOT)
    assert ended.returncode == -signal.SIGKILL, f"{moment!r} never came"


@pytest.mark.parametrize("moment", dying.BACKUP_MOMENTS)
def test_a_backup_killed_at_any_step_is_whole_or_not_there(engine: SqliteEngine, house: House, moment: str) -> None:
    die("backup", moment, house)
    listed = catalogue.read(house.store).entries
    finished = moment == "manifests named"
    assert [entry.sequence for entry in listed] == ([1, 2, 3] if finished else [1, 2])
    assert all(entry.state == "complete" for entry in listed)
    assert verify(house.store, listed[-1].id).ok

    made = run_backup(engine, str(house.database), house.store, demonstration=True)
    assert made.sequence == len(listed) + 1
    assert databases.contents(house.database) == house.now
    assert list((Path(house.store.address) / ".staging").iterdir()) == []
    published = [entry.manifest for entry in catalogue.read(house.store).entries if entry.manifest]
    named = {stored.name for manifest in published for stored in manifest.objects}
    assert {stored.name for stored in house.store.list("objects/")} == named


@pytest.mark.parametrize("moment", dying.RESTORE_MOMENTS)
def test_a_restore_killed_at_any_step_is_made_good_by_the_next(
    engine: SqliteEngine, crashed_house: House, moment: str
) -> None:
    house = crashed_house
    old_main = house.database.read_bytes()
    old_log = house.database.with_name("gym.db-wal").read_bytes()
    die("restore", moment, house)
    assert house.database.exists(), "there is a database at the path at every moment"
    assert (swaps.interrupted(house.database) is None) == (moment == "forgotten")

    restore(engine, house.store, str(house.database))
    assert databases.contents(house.database) == house.now
    assert swaps.interrupted(house.database) is None
    beside = [path.name for path in house.database.parent.iterdir() if not path.name.startswith("gym.db.evidence-")]
    assert sorted(beside) == ["gym.db", "store"]
    kept = [path.read_bytes() for path in house.database.parent.glob("gym.db.evidence-*/*")]
    assert old_main in kept
    assert old_log in kept
    assert len(list(house.database.parent.glob("gym.db.evidence-*"))) == (2 if moment == "forgotten" else 1)


def test_a_database_left_without_its_log_stays_marked_until_a_restore_succeeds(
    engine: SqliteEngine, crashed_house: House
) -> None:
    house = crashed_house
    die("restore", "kept gym.db-wal", house)
    marked = swaps.interrupted(house.database)
    assert marked is not None
    assert marked.touched
    away = DirectoryStore(house.database.parent / "nothing here", make=True)
    with pytest.raises(NothingToRestore):
        restore(engine, away, str(house.database))
    with pytest.raises(NoSpace):
        restore(engine, house.store, str(house.database), free_bytes=lambda _: 0)
    with pytest.raises(KeyboardInterrupt):
        restore(engine, house.store, str(house.database), fence=interrupt)
    assert swaps.interrupted(house.database) == marked
    assert restore(engine, house.store, str(house.database)).evidence == Path(marked.evidence)
    assert swaps.interrupted(house.database) is None


def interrupt() -> None:
    raise KeyboardInterrupt


def test_objects_whose_manifest_was_lost_are_not_swept(engine: SqliteEngine, house: House) -> None:
    """Only the next sequence can be a killed run's; anything older once had a manifest and may be worth saving."""
    house.manifest_of(house.older).unlink()
    run_backup(engine, str(house.database), house.store, demonstration=True)
    assert house.object_of(house.older).exists()


def test_the_agent_dies_with_the_process_that_asked(house: House) -> None:
    """The database is locked for good, so the agent waits for it; its parent is killed while it does."""
    blocker = databases.connect(house.database)
    blocker.execute("PRAGMA journal_mode = DELETE")
    blocker.execute("BEGIN EXCLUSIVE")
    command = [sys.executable, "-m", dying.__name__, "backup", "never", str(house.database), house.store.address]

    def waiting() -> set[int]:
        return {holder.pid for holder in holders_of([house.database])} - {os.getpid()}

    with subprocess.Popen(command, cwd=databases.ROOT) as parent:
        databases.wait_until(lambda: bool(waiting()), "the agent's opening of the database")
        assert waiting() == {child.pid for child in psutil.Process(parent.pid).children()}
        os.kill(parent.pid, signal.SIGKILL)
    databases.wait_until(lambda: not waiting(), "the agent's end", within_s=5)
    blocker.close()
    with house.store.exclusive("next run"):
        assert list((Path(house.store.address) / ".staging").iterdir()) == []


def test_a_dead_holder_of_the_store_blocks_nobody(engine: SqliteEngine, house: House) -> None:
    script = (
        "import sys; from pathlib import Path; from backups.stores.directory import DirectoryStore\n"
        "with DirectoryStore(Path(sys.argv[1])).exclusive('a long job'):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, house.store.address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Locked, match=rf"process {holder.pid} on .*a long job"):
            run_backup(engine, str(house.database), house.store, demonstration=True)
        holder.kill()
    run_backup(engine, str(house.database), house.store, demonstration=True)
