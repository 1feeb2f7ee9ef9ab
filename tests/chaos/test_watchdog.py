"""The watchdog when an undo fails: it tries again, at growing pauses, and in the end leaves it to a person."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaos import guard, watchdog
from chaos.errors import NotHealed
from chaos.lease import Lease, Leases
from chaos.undo import RemoveFile
from chaos.watchdog import Watch

pytestmark = pytest.mark.processes


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOOK_INTERVAL_S", 0.001)
    monkeypatch.setattr(watchdog, "LONGEST_PAUSE_S", 0.002)


def expired(directory: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> Lease:
    """A lease that is due, with no watchdog but the one of the test."""
    with monkeypatch.context() as patch:
        patch.setattr(guard, "ensure", lambda _: None)
        return Leases(directory).take("x", RemoveFile(str(path)), seconds=0)


def test_an_undo_that_fails_is_tried_again(tmp_path: Path, hurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "armed"
    file.mkdir()  # a directory cannot be unlinked
    lease = expired(tmp_path / "leases", file, monkeypatch)
    attempts = 0
    undo = Lease.undo

    def undo_after_two(lease: Lease, patience_s: float) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 3:
            file.rmdir()
        undo(lease, patience_s)

    monkeypatch.setattr(Lease, "undo", undo_after_two)
    Watch(Leases(tmp_path / "leases")).keep()
    assert attempts == 3
    assert lease.ended


def test_an_undo_that_never_works_is_left_to_a_person(
    tmp_path: Path, hurried: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "armed").mkdir()
    lease = expired(tmp_path / "leases", tmp_path / "armed", monkeypatch)
    Watch(Leases(tmp_path / "leases")).keep()
    assert not lease.ended
    assert capsys.readouterr().err.count("failed") == watchdog.ATTEMPTS
    with pytest.raises(NotHealed, match="armed"):
        lease.undo()


def test_a_lease_that_makes_no_sense_does_not_stop_the_watch(
    tmp_path: Path, hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "armed"
    file.touch()
    lease = expired(tmp_path / "leases", file, monkeypatch)
    (tmp_path / "leases" / "99999999999999999999-1-odd.json").write_text("{")
    Watch(Leases(tmp_path / "leases")).keep()
    assert lease.ended
    assert not file.exists()


def test_the_watch_takes_over_a_lease_taken_while_it_ended(
    tmp_path: Path, hurried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner that saw the lock still held relies on the watchdog that is just about to let go of it."""
    leases = Leases(tmp_path / "leases")
    leases.directory.mkdir()
    file = tmp_path / "armed"
    file.touch()
    taken: list[Lease] = []
    keep = Watch.keep

    def take_late(watch: Watch) -> None:
        keep(watch)
        if not taken:
            taken.append(expired(leases.directory, file, monkeypatch))

    monkeypatch.setattr(Watch, "keep", take_late)
    lock = guard.acquire(leases.directory)
    assert lock is not None
    watchdog.watch(leases, lock)
    assert taken[0].ended
    assert not file.exists()
    free = guard.acquire(leases.directory)
    assert free is not None
    os.close(free)
