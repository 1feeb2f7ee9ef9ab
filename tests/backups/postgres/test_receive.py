"""The receiver: what it takes survives its own death, the store's absence and the server's, and is told when it cannot."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backups.postgres.binaries import VARIABLE
from backups.postgres.restore import restore
from tests.backups import databases
from tests.backups.postgres.conftest import Clinic

pytestmark = pytest.mark.processes


def run(clinic: Clinic, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "backups.postgres.receive", "--database", clinic.server.url(), "--store", clinic.store.address,
        "--spool", str(clinic.directory / "another"), "--demonstration", *more,
    ]  # fmt: skip
    return subprocess.run(command, cwd=databases.ROOT, capture_output=True, text=True, timeout=30, check=False)


def spooled(clinic: Clinic) -> list[Path]:
    return [path for path in clinic.spool.rglob("0*") if path.is_file()]


def test_a_killed_receiver_is_followed_by_another_and_nothing_is_missing(newest: Clinic) -> None:
    with newest.receiving() as process:
        newest.back_up()
        newest.write(5)
        process.send_signal(signal.SIGKILL)
        process.wait()
    databases.wait_until(lambda: not newest.streams("gymkhana_wal"), "the slot is free again")
    newest.write(5)
    with newest.receiving():
        newest.write(5)
        newest.caught_up()
    newest.lose()
    restore(newest.store, newest.data, spool=newest.spool)
    newest.server.start()
    assert newest.numbers() == list(range(1, 16))


def test_a_store_that_is_away_is_caught_up_with_when_it_is_back(newest: Clinic) -> None:
    place = Path(newest.store.address)
    with newest.receiving():
        newest.write(1)
        newest.caught_up()
        place.rename(place.with_name("away"))
        place.touch()  # A file where the store was: nothing can be written there.
        newest.write(3)
        with newest.server.connect() as connection:
            connection.execute("SELECT pg_switch_wal()")
        newest.write(3)
        databases.wait_until(lambda: len(spooled(newest)) >= 2, "the spool holds what the store does not take")
        place.unlink()
        place.with_name("away").rename(place)
        newest.caught_up()
    assert newest.shipped(3)


def test_a_restarted_server_is_received_from_again(newest: Clinic) -> None:
    with newest.receiving() as process:
        newest.write(1)
        newest.server.stop()
        newest.server.start()
        databases.wait_until(lambda: newest.streams("gymkhana_wal"), "the receiver streams again")
        newest.write(1)
        newest.caught_up()
        assert process.poll() is None


def test_a_segment_that_a_killed_receiver_left_half_made_is_gone_on_with(clinic: Clinic) -> None:
    """pg_receivewal makes room for a segment before it writes there, and refuses what it finds half made."""
    with clinic.server.connect() as connection:
        row = connection.execute(
            "SELECT system_identifier::text, pg_walfile_name(pg_current_wal_lsn()) FROM pg_control_system()"
        ).fetchone()
    assert row is not None
    place = clinic.spool / row[0] / row[1][:8]
    place.mkdir(parents=True)
    (place / f"{row[1]}.partial").write_bytes(bytes(2 << 20))
    with clinic.receiving():
        clinic.back_up()
        last = clinic.write(3)
        clinic.caught_up()
    clinic.lose()
    restore(clinic.store, clinic.data, spool=clinic.spool)
    clinic.server.start()
    assert clinic.numbers() == list(range(1, last + 1))


def test_a_slot_that_is_in_use_is_told(newest: Clinic) -> None:
    with newest.receiving():
        done = run(newest)
    assert done.returncode == 1
    assert "one receiver at a time" in done.stderr


def test_a_slot_of_another_kind_is_told(newest: Clinic) -> None:
    with newest.server.connect() as connection:
        connection.execute("ALTER SYSTEM SET wal_level = logical")
    newest.server.stop()
    newest.server.start()
    with newest.server.connect() as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('gymkhana_wal', 'pgoutput')")
    done = run(newest)
    assert done.returncode == 2
    assert "a slot gymkhana_wal of another kind" in done.stderr


def test_two_receivers_do_not_share_a_spool(newest: Clinic) -> None:
    with newest.receiving():
        done = run(newest, "--slot", "other", "--spool", str(newest.spool))
    assert done.returncode == 1
    assert "receiving into" in done.stderr


def test_log_that_the_server_gave_up_is_a_gap_that_is_told(newest: Clinic) -> None:
    with newest.receiving():
        newest.write(1)
    newest.server.stop()
    newest.server.start(max_slot_wal_keep_size="1MB", max_wal_size="32MB")
    with newest.server.connect() as connection:
        for _ in range(6):
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("INSERT INTO operations DEFAULT VALUES")
        connection.execute("CHECKPOINT")
        row = connection.execute("SELECT wal_status FROM pg_replication_slots").fetchone()
    assert row == ("lost",)
    shutil.rmtree(newest.spool)
    with newest.receiving() as process:
        newest.write(1)
        process.send_signal(signal.SIGTERM)
        process.wait()
        assert process.stderr is not None
        assert b"make a new base backup" in process.stderr.read()


def test_commits_wait_for_a_synchronous_receiver_and_for_nobody_else(newest: Clinic) -> None:
    with newest.receiving(sync=True):
        newest.write(1)
    with newest.server.connect() as connection:
        row = connection.execute("SHOW synchronous_standby_names").fetchone()
        assert row == ('"gymkhana_wal"',)
        connection.execute("SET statement_timeout = '300ms'")
        connection.execute("SET synchronous_commit = local")
        connection.execute("INSERT INTO operations DEFAULT VALUES")


def test_a_slot_without_a_bound_is_told_and_one_with_a_bound_is_not(newest: Clinic) -> None:
    told = [_said_until(newest, "receiving")]
    newest.server.stop()
    newest.server.start(max_slot_wal_keep_size="-1")
    told.append(_said_until(newest, "receiving"))
    assert ["unbounded" in said for said in told] == [False, True]
    assert "set max_slot_wal_keep_size" in told[1]


def _said_until(clinic: Clinic, event: str) -> str:
    with clinic.receiving() as process:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert f'"event":"{event}"' in said
    return said


def test_a_spool_that_is_full_is_told_once_and_nothing_is_missing_when_there_is_room_again(
    newest: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says no to the real pg_receivewal half-way through a segment; the server keeps the log meanwhile."""
    programs = newest.server.programs.directory
    narrow = tmp_path / "bin"
    narrow.mkdir()
    for program in programs.iterdir():
        (narrow / program.name).symlink_to(program)
    room = narrow / "pg_receivewal"
    room.unlink()
    room.write_text(f"#!/bin/sh\ntrap '' XFSZ\nulimit -f 100\nexec {programs}/pg_receivewal \"$@\"\n", "ascii")
    room.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(narrow))
    newest.back_up()
    with newest.begun_receiving() as process:
        newest.write(3)
        databases.wait_until(lambda: newest.retained_bytes() > 0, "the server keeps the log")
        databases.wait_until(lambda: "spool-full" in newest.said(), "it is told")
        newest.write(3)
        assert process.poll() is None
        room.unlink()
        room.symlink_to(programs / "pg_receivewal")
        databases.wait_until(lambda: newest.streams("gymkhana_wal"), "the receiver streams")
        newest.caught_up()
    said = newest.said()
    assert said.count('"spool-full"') == 1
    assert "so the server keeps the log itself: make room there" in said
    newest.lose()
    restore(newest.store, newest.data, spool=newest.spool)
    newest.server.start()
    assert newest.numbers() == [1, 2, 3, 4, 5, 6]
