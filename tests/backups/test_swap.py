"""The exchange itself, step by step, on plain files."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from backups import swap as swaps
from backups.swap import Swap

MEMBERS = ("gym.db", "gym.db-wal", "gym.db-shm", "gym.db-journal")
STEPS = ("kept gym.db", "kept gym.db-wal", "exchanged", "forgotten")


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the house catches it."""


@pytest.fixture
def swap(tmp_path: Path) -> Swap:
    """An exchange written down: an old database with a log, and a build ready to replace it."""
    (tmp_path / "gym.db").write_text("old")
    (tmp_path / "gym.db-wal").write_text("old log")
    (tmp_path / "gym.db.restoring").write_text("new")
    swap = Swap(
        backup="b",
        database=str(tmp_path / "gym.db"),
        build=str(tmp_path / "gym.db.restoring"),
        evidence=str(tmp_path / "gym.db.evidence-1"),
        members=MEMBERS,
        steps=("one", "two"),
    )
    swaps.write_down(swap)
    return swap


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_an_exchange_puts_the_build_in_place_and_keeps_the_old_files(swap: Swap, tmp_path: Path) -> None:
    told: list[str] = []
    swaps.exchange(swap, told.append)
    assert tuple(told) == STEPS
    assert names(tmp_path) == ["gym.db", "gym.db.evidence-1"]
    assert (tmp_path / "gym.db").read_text() == "new"
    kept = tmp_path / "gym.db.evidence-1"
    assert {path.name: path.read_text() for path in kept.iterdir()} == {"gym.db": "old", "gym.db-wal": "old log"}


def test_where_nothing_was_nothing_is_kept(swap: Swap, tmp_path: Path) -> None:
    (tmp_path / "gym.db").unlink()
    (tmp_path / "gym.db-wal").unlink()
    swaps.exchange(swap)
    assert names(tmp_path) == ["gym.db"]


def test_a_log_without_a_database_is_kept_too(swap: Swap, tmp_path: Path) -> None:
    (tmp_path / "gym.db").unlink()
    swaps.exchange(swap)
    assert names(tmp_path / "gym.db.evidence-1") == ["gym.db-wal"]


@pytest.mark.parametrize("last", STEPS[:-2])
def test_an_exchange_killed_before_the_rename_can_be_run_again(swap: Swap, tmp_path: Path, last: str) -> None:
    def die_after(step: str) -> None:
        if step == last:
            raise Killed

    with pytest.raises(Killed):
        swaps.exchange(swap, die_after)
    assert (tmp_path / "gym.db").read_text() == "old"
    assert swaps.interrupted(tmp_path / "gym.db") == msgspec.structs.replace(swap, touched=True)
    swaps.exchange(swap)
    assert (tmp_path / "gym.db").read_text() == "new"
    assert names(tmp_path) == ["gym.db", "gym.db.evidence-1"]
    assert names(tmp_path / "gym.db.evidence-1") == ["gym.db", "gym.db-wal"]


def test_evidence_is_not_overwritten_by_a_log_that_came_in_between(swap: Swap, tmp_path: Path) -> None:
    """The exchange is killed with the log moved away; somebody opens the old database, and a second log appears."""

    def die_after(step: str) -> None:
        if step == "kept gym.db-wal":
            raise Killed

    with pytest.raises(Killed):
        swaps.exchange(swap, die_after)
    (tmp_path / "gym.db-wal").write_text("second log")
    swaps.exchange(swap)
    kept = tmp_path / "gym.db.evidence-1"
    assert (kept / "gym.db-wal").read_text() == "old log"
    assert (kept / "gym.db-wal.2").read_text() == "second log"


def test_withdrawing_leaves_the_database_alone_and_may_be_repeated(swap: Swap, tmp_path: Path) -> None:
    swaps.withdraw(swap, None)
    swaps.withdraw(swap, None)
    assert names(tmp_path) == ["gym.db", "gym.db-wal"]
    assert swaps.interrupted(tmp_path / "gym.db") is None


def test_withdrawing_a_second_attempt_leaves_the_record_of_the_first(swap: Swap, tmp_path: Path) -> None:
    earlier = msgspec.structs.replace(swap, touched=True)
    swaps.withdraw(swap, earlier)
    assert names(tmp_path) == ["gym.db", "gym.db-wal", "gym.db.restore-plan.json"]
    assert swaps.interrupted(tmp_path / "gym.db") == earlier
