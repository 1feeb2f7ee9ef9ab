"""Goals: met, missed, or not tried; and a burst of the disk that is not taken for its pace."""

from __future__ import annotations

import pytest

from tests.bench.backups.goals import ROWS, regime
from tests.bench.goals import Round, exit_code, judged, summary

GOOD: Round = {
    "tired disk MB/s": 250.0,
    "cp": 4.0,
    "online backup": 4.5,
    "vacuum into": 5.0,
    "full": 3.5,
    "full image bytes": 1e9,
    "full stored bytes": 3e8,
    "pages changed %": 1.0,
    "incremental": 1.0,
    "incremental stored bytes": 4e6,
    "restore": 9.0,
    "repair": 2.0,
    "verify": 2.0,
    "p99 alone ms": 5.0,
    "p99 beside ms": 9.0,
}


def met(found: Round) -> dict[str, bool]:
    return {row.name: row.met for row in judged(ROWS, [found])[0] if row.goal}


def test_a_good_round_meets_every_goal() -> None:
    rows, missing = judged(ROWS, [GOOD] * 5)
    assert met(GOOD) == dict.fromkeys(met(GOOD), True)
    assert (len(rows), missing) == (len(ROWS), [])
    assert summary(rows, missing) == "10 goals met, 0 missed, 0 figures not measured"
    assert exit_code(rows, missing) == 0


@pytest.mark.parametrize(
    ("name", "value", "missed"),
    [
        ("cp", 3.4, "full backup to cp"),
        ("online backup", 3.4, "full backup to online backup"),
        ("vacuum into", 3.4, "full backup to VACUUM INTO"),
        ("full stored bytes", 3.4e8, "full backup, database to stored"),
        ("incremental stored bytes", 4.6e6, "incremental, stored to full"),
        ("incremental", 2.2, "incremental to full backup"),
        ("restore", 12.1, "restore, checked, to first write"),
        ("repair", 4.1, "delta restore of 100 damaged pages"),
        ("verify", 2.6, "verify level 3, database bytes"),
        ("p99 beside ms", 10.1, "p99 of writes, beside to without"),
    ],
)
def test_every_goal_can_be_missed(name: str, value: float, missed: str) -> None:
    assert [row for row, held in met(GOOD | {name: value}).items() if not held] == [missed]
    assert exit_code(*judged(ROWS, [GOOD | {name: value}])) == 1


def test_what_one_round_did_not_measure_is_not_called_met() -> None:
    short = {name: value for name, value in GOOD.items() if name != "repair"}
    rows, missing = judged(ROWS, [GOOD, short])
    assert missing == ["delta restore of 100 damaged pages"]
    assert summary(rows, missing) == (
        "9 goals met, 0 missed, 1 figures not measured: delta restore of 100 damaged pages"
    )
    assert exit_code(rows, missing) == 3


def test_ratios_are_made_within_a_round() -> None:
    """Each round is a tie, whatever the disk did between them; medians taken apart would have said 2."""
    (tie,) = [
        row
        for row in judged(ROWS, [GOOD | {"cp": s, "full": s} for s in (1.0, 2.0, 4.0)])[0]
        if row.name == "full backup to cp"
    ]
    assert tie.samples == (1.0, 1.0, 1.0)


def test_a_burst_of_the_disk_is_said() -> None:
    assert regime([GOOD, GOOD]).startswith("sustained writing in every round")
    assert regime([GOOD, GOOD | {"cp": 0.9}]).startswith("a burst in 1 of 2 rounds")
