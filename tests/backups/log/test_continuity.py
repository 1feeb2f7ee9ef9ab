"""What follows on what was shipped, and what does not, case by case."""

from __future__ import annotations

import pytest

from backups.log.continuity import Broken, Position, follows, of
from backups.sqlite.wal import Checksum, ShmHeader

pytestmark = pytest.mark.processes

SEVEN, EIGHT, NINE, OTHER = (7, 1000), (8, 2000), (9, 3000), (500, 4000)
SUM, ANOTHER = (11, 12), (13, 14)
SHIPPED = Position(SEVEN, 90, SUM, change=400)


def index(salts: tuple[int, int], frames: int, change: int = 400, checksum: Checksum = SUM) -> ShmHeader:
    return ShmHeader(change, 4096, frames, 50, checksum, salts, 0)


def test_the_end_of_what_is_committed() -> None:
    assert of(index(SEVEN, 90)) == SHIPPED


@pytest.mark.parametrize(("frames", "change"), [(90, 400), (95, 402)])
def test_the_same_round_goes_on_after_the_last_frame(frames: int, change: int) -> None:
    assert follows(SHIPPED, index(SEVEN, frames, change), SUM, None) == 91


def test_a_round_in_which_nothing_was_shipped_yet_has_no_frame_to_compare() -> None:
    assert follows(Position(SEVEN, 0, (0, 0)), index(SEVEN, 3), None, None) == 1


def test_the_next_round_goes_on_from_its_start_when_every_commit_since_is_in_it() -> None:
    assert follows(SHIPPED, index(EIGHT, 6, change=403), None, 3) == 1


def test_salts_and_counts_wrap_around() -> None:
    shipped = Position((0xFFFFFFFF, 1), 4, SUM, change=0xFFFFFFFF)
    assert follows(shipped, index((0, 2), 2, change=1), None, 2) == 1


BROKEN: list[tuple[Position, ShmHeader, Checksum | None, int | None, str]] = [
    (SHIPPED, index(SEVEN, 80), None, None, "shorter"),
    (SHIPPED, index(SEVEN, 95), ANOTHER, None, "other frames"),
    (SHIPPED, index(SEVEN, 95), None, None, "other frames"),
    (SHIPPED, index(EIGHT, 6, change=404), None, 3, "before they were shipped"),
    (SHIPPED, index(EIGHT, 6, change=402), None, 3, "before they were shipped"),
    (SHIPPED, index(EIGHT, 6, change=403), None, None, "before they were shipped"),
    (Position(SEVEN, 90, SUM), index(EIGHT, 6, change=403), None, 3, "nobody watched"),
    (Position(SEVEN, 90, SUM), index(NINE, 6, change=403), None, 3, "nobody watched"),
    (SHIPPED, index(NINE, 6, change=403), None, 3, "somebody else"),
    (SHIPPED, index(OTHER, 6, change=403), None, 3, "somebody else"),
    (SHIPPED, index((0, 0), 0, change=0), None, 0, "somebody else"),
]


@pytest.mark.parametrize(("shipped", "found", "checksum", "commits", "why"), BROKEN)
def test_what_does_not_follow(
    shipped: Position, found: ShmHeader, checksum: Checksum | None, commits: int | None, why: str
) -> None:
    said = follows(shipped, found, checksum, commits)
    assert isinstance(said, Broken)
    assert why in said.why
