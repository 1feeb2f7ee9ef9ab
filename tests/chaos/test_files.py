"""Damage to the database's files: every kind is seen by SQLite, is the same for a seed, and is put back or restored."""

from __future__ import annotations

import fcntl
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaos import put_back, sqlite_process
from chaos.errors import ChaosError, NotHealed, NothingToBreak
from chaos.fault import make
from chaos.lease import heal_all
from chaos.put_back import PutBack
from tests.chaos.stand import ROOT, Stand, wait_until

pytestmark = pytest.mark.processes

READER_AND_VACUUM = """
import sys
from tests.chaos.stand_in import connect
from pathlib import Path
reader, writer = connect(Path(sys.argv[1])), connect(Path(sys.argv[1]))
reader.execute("BEGIN"); reader.execute("SELECT count(*) FROM rows").fetchone()
writer.execute("VACUUM")
print("ready", flush=True); sys.stdin.read()
"""


def killed_in_work(stand: Stand) -> None:
    """The service has died and left a log behind."""
    stand.serve()
    with make("kill-service").inject(stand.target):
        pass


@pytest.mark.parametrize("mode", ["bit-flips", "zero-page", "truncate"])
def test_damage_of_every_mode_is_seen_by_sqlite(stand: Stand, mode: str) -> None:
    with make("corrupt-database", mode=mode, seed=1).inject(stand.target) as injection:
        proof = injection.proof
    assert proof is not None
    assert proof.details["mode"] == mode
    assert proof.details["findings"]
    assert not sqlite_process.check(stand.database).sound, "it is left to a restore"
    assert list(stand.leases.directory.glob("*evidence*")) == []


@pytest.mark.parametrize("mode", ["bit-flips", "truncate"])
def test_a_damaged_log_is_read_less_far(stand: Stand, mode: str) -> None:
    killed_in_work(stand)
    with make("corrupt-wal", mode=mode, seed=1).inject(stand.target) as injection:
        proof = injection.proof
    assert proof is not None
    assert proof.details["frames_after"] < proof.details["frames_before"]
    assert not set(stand.acknowledged()) <= stand.numbers(), "what was acknowledged last is lost"


def test_the_same_seed_does_the_same_damage(stand: Stand, tmp_path: Path) -> None:
    twin = Stand(tmp_path / "twin")
    shutil.copytree(stand.directory, twin.directory)
    offsets = []
    for where, seed in ((stand, 5), (twin, 5), (twin, 6)):
        with make("corrupt-database", mode="zero-page", seed=seed, put_back=True).inject(where.target) as injection:
            assert injection.proof
            offsets.append(injection.proof.details["offsets"])
    assert offsets[0] == offsets[1] != offsets[2]
    twin.close()


@pytest.mark.parametrize("name", ["corrupt-wal", "delete-database"])
def test_put_back_brings_back_every_byte(stand: Stand, name: str) -> None:
    killed_in_work(stand)
    files = [put_back.sibling(stand.database, suffix) for suffix in ("", "-wal")]
    before = [path.read_bytes() for path in files]
    with make(name, put_back=True).inject(stand.target) as injection:
        assert injection.proof
    assert [path.read_bytes() for path in files] == before


def test_a_damaged_database_is_put_back_byte_by_byte(stand: Stand) -> None:
    before = stand.database.read_bytes()
    with make("corrupt-database", put_back=True).inject(stand.target) as injection:
        assert injection.proof
        assert stand.database.read_bytes() != before
    assert stand.database.read_bytes() == before


def test_a_log_that_masks_every_page_leaves_no_proof(stand: Stand) -> None:
    """All pages are in the log and a reader keeps them there, so damage to the main file changes nothing for anybody."""
    command = [sys.executable, "-c", READER_AND_VACUUM, str(stand.database)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as others:
        assert others.stdout is not None
        assert others.stdout.readline()
        before = stand.database.read_bytes()
        with make("corrupt-database").inject(stand.target) as injection:
            assert injection.proof is None
            assert "masks" in injection.why
        assert stand.database.read_bytes() == before, "there was no page worth damaging"
        others.kill()
    assert stand.sound()


def test_what_was_restored_meanwhile_stays(stand: Stand, tmp_path: Path) -> None:
    """A block that fails after the restore does not put the old database over the restored one."""
    backup = tmp_path / "backup"
    shutil.copy(stand.database, backup)

    def restore_and_fail() -> None:
        with make("delete-database").inject(stand.target):
            backup.rename(stand.database)
            raise RuntimeError

    restored = backup.stat().st_ino
    with pytest.raises(RuntimeError):
        restore_and_fail()
    assert stand.database.stat().st_ino == restored
    assert not stand.leases.paths()


def test_an_empty_file_in_its_place_is_no_restore(stand: Stand) -> None:
    before = stand.database.read_bytes()
    with make("delete-database", put_back=True).inject(stand.target):
        stand.database.touch()  # as a connection does that finds nothing there
    assert stand.database.read_bytes() == before


def test_a_damaged_file_in_its_place_is_no_restore(stand: Stand) -> None:
    before = stand.database.read_bytes()
    with make("delete-database", put_back=True).inject(stand.target):
        stand.database.write_bytes(before[:4096] + bytes(len(before) - 4096))
    assert stand.database.read_bytes() == before


def test_the_undo_waits_for_a_restore_that_is_at_work(stand: Stand) -> None:
    lock = stand.database.with_name("gym.db.restore-lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(NotHealed, match="restore"):
            with make("delete-database", put_back=True).inject(stand.target):
                pass
        assert stand.leases.paths()
    assert [lease.record.what for lease in heal_all(stand.leases.directory)] == ["delete-database"]
    assert stand.sound()


def test_incomplete_evidence_is_never_put_back(stand: Stand) -> None:
    """The runner died while it gathered the originals: nothing was damaged yet, and half a copy is worth nothing."""
    before = stand.database.read_bytes()
    undo = PutBack(database=str(stand.database), runtime=str(stand.target.runtime))
    lease = stand.leases.take("corrupt-database", undo, seconds=60)
    gathering = lease.evidence.with_suffix(".gathering")
    gathering.mkdir()
    (gathering / "database").write_bytes(before[:5000])
    lease.undo()
    assert stand.database.read_bytes() == before
    assert not gathering.exists()


def test_putting_back_twice_keeps_what_was_written_in_between(serving: Stand) -> None:
    """An undo that is repeated (its process died before it could say that it was done) costs nothing."""
    undo = PutBack(database=str(serving.database), runtime=str(serving.target.runtime))
    lease = serving.leases.take("delete-database", undo, seconds=60)
    put_back.link_set(serving.database, lease.evidence)
    for suffix in ("", "-wal", "-shm"):
        put_back.sibling(serving.database, suffix).unlink()
    undo.undo(lease.evidence)
    serving.wait_for_work()
    acknowledged = serving.acknowledged()
    undo.undo(lease.evidence)
    serving.wait_for_work()
    assert set(acknowledged) <= serving.numbers()
    lease.close()


def test_evidence_must_lie_on_the_databases_file_system(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no hard link can be made nothing is damaged, and the sentence says why."""

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(ChaosError, match="file system"):
        with make("delete-database").inject(stand.target):
            pass
    assert stand.sound()
    assert not stand.leases.paths()


def test_the_writer_goes_on_after_damage(serving: Stand) -> None:
    """It stands still only while its files are copied and damaged."""
    with make("corrupt-database", count=1).inject(serving.target):
        assert not any(process.stopped for process in serving.processes().values())


@pytest.mark.parametrize(
    ("name", "missing"),
    [("corrupt-wal", "write-ahead log"), ("corrupt-database", "no database"), ("delete-database", "no")],
)
def test_what_is_not_there_cannot_be_broken(stand: Stand, name: str, missing: str) -> None:
    if name != "corrupt-wal":
        stand.database.unlink()
    with pytest.raises(NothingToBreak, match=missing):
        with make(name).inject(stand.target):
            pass
    assert not stand.leases.paths()


def test_a_file_that_is_no_database_is_refused(stand: Stand) -> None:
    stand.database.write_bytes(b"hello" * 1000)
    with pytest.raises(ChaosError, match="not a database"):
        with make("corrupt-database").inject(stand.target):
            pass
    assert stand.database.read_bytes() == b"hello" * 1000


def test_a_runner_killed_while_the_writer_stands_still_leaves_it_running(serving: Stand) -> None:
    """The moment between two system calls of a fault: the writer is stopped, and its runner is gone."""
    command = [sys.executable, "-c", _HOLD_STILL, str(serving.directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline()
        assert serving.processes()["writer"].stopped
        runner.send_signal(signal.SIGKILL)
    wait_until(serving.unbroken, timeout_s=10.0)
    serving.wait_for_work()


_HOLD_STILL = """
import sys, time
from pathlib import Path
from chaos.process import writer_held_still
from chaos.target import Target
with writer_held_still(Target.at(Path(sys.argv[1])), 600):
    print("still", flush=True)
    time.sleep(600)
"""
