"""Locks: one holder, named to whoever comes second, and none that outlives its process."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

import pytest

from backups import lock
from backups.errors import Locked, StoreError


def test_the_lock_file_is_there_while_held_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.hold(path, "work"):
        assert path.exists()
    assert not path.exists()


def test_who_comes_second_is_told_pid_host_since_and_purpose(tmp_path: Path) -> None:
    with lock.hold(tmp_path / "lock", "work"):
        with pytest.raises(Locked) as caught, lock.hold(tmp_path / "lock", "other work"):
            pass
    said = str(caught.value)
    assert f"process {os.getpid()} on {socket.gethostname()}, since 20" in said
    assert "(work)" in said


def test_the_lock_is_free_again_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), lock.hold(tmp_path / "lock", "work"):
        raise RuntimeError
    with lock.hold(tmp_path / "lock", "again"):
        pass


@pytest.mark.parametrize("left", [b"", b"{", b'{"pid": 1, "host": "h", "since": "s", "purpose": "p"}'])
def test_a_file_left_by_the_dead_is_no_lock(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "lock").write_bytes(left)
    with lock.hold(tmp_path / "lock", "work"):
        pass


def test_a_holder_that_has_not_yet_signed_is_called_what_it_is(tmp_path: Path) -> None:
    with lock.hold(tmp_path / "lock", "work"):
        os.truncate(tmp_path / "lock", 0)
        with pytest.raises(Locked, match="another process that has only just begun"), lock.hold(tmp_path / "lock", "x"):
            pass


def test_a_file_unlinked_by_its_last_holder_is_not_mistaken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loser of a race may flock a file that the winner has just removed; it must look again, or two would hold."""
    path = tmp_path / "lock"
    really_flock = fcntl.flock
    removed: list[bool] = []

    def flock_after_the_winner_left(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(True)
            path.unlink()
        really_flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_after_the_winner_left)
    with lock.hold(path, "work"):
        assert path.exists()
        with pytest.raises(Locked), lock.hold(path, "more work"):
            pass


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"The lock .* cannot be taken: No such file or directory"):
        with lock.hold(tmp_path / "none" / "lock", "work"):
            pass


def test_a_directory_that_goes_away_under_a_lock_is_no_error_of_the_holder(tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    with lock.hold(place / ".lock", "test"):
        place.rename(tmp_path / "elsewhere")
        place.touch()
    with pytest.raises(StoreError, match="cannot be taken"), lock.hold(place / ".lock", "test"):
        pass
