"""Goals of the PostgreSQL benchmark: met, missed, or of tools that are not here."""

from __future__ import annotations

import pytest

from tests.bench.backups.postgres import goals
from tests.bench.goals import Round, exit_code, judged, summary

GOOD: Round = {
    "tired disk MB/s": 150.0,
    "cluster bytes": 1.05e9,
    "cp": 7.0,
    "plain": 8.0,
    "tar": 7.0,
    "gzip": 14.0,
    "gzip bytes": 2.8e8,
    "zstd": 4.0,
    "pgbackrest": 7.0,
    "dump": 11.0,
    "full": 6.0,
    "full image bytes": 1.1e9,
    "full stored bytes": 2.6e8,
    "changed bytes": 2e7,
    "incremental": 5.0,
    "incremental stored bytes": 2e8,
    "log MB": 257.0,
    "restore": 14.0,
    "restore: build": 7.0,
    "restore: replay": 4.0,
    "restore: check": 2.0,
    "pgbackrest restore": 14.0,
    "pgbackrest delta": 6.0,
    "untar": 8.0,
    "undump": 20.0,
    "crash recovery": 3.0,
    "verify": 3.0,
    "verify files": 1.0,
    "noticed": 0.25,
    "failover": 0.5,
    "failover lost": 0.0,
}


def met(found: Round) -> dict[str, bool]:
    return {row.name: row.met for row in judged(goals.ROWS, [found])[0] if row.goal}


def test_a_good_round_meets_every_goal_and_ends_with_0() -> None:
    rows, missing = judged(goals.ROWS, [GOOD] * 3)
    assert (len(rows), missing) == (len(goals.ROWS), [])
    assert summary(rows, missing) == f"{len(met(GOOD))} goals met, 0 missed, 0 figures not measured"
    assert exit_code(rows, missing) == 0


MISSES = [
    ("gzip", 9.9, "full backup to pg_basebackup, tar, gzip"),
    ("zstd", 2.9, "full backup to pg_basebackup, tar, zstd"),
    ("pgbackrest", 3.9, "full backup to pgBackRest"),
    ("gzip bytes", 2.3e8, "full backup, stored to pg_basebackup's, gzip"),
    ("incremental", 6.7, "incremental to full backup"),
    ("incremental stored bytes", 2.7e8, "incremental, stored to full"),
    ("pgbackrest restore", 11.0, "restore to pgBackRest's"),
    ("undump", 13.9, "restore to pg_restore"),
    ("verify", 5.6, "verify level 3, database bytes"),
    ("failover", 2.1, "failover by promotion, detection included"),
    ("failover lost", 1.0, "failover: acknowledged writes lost"),
]


@pytest.mark.parametrize(("name", "value", "missed"), MISSES)
def test_every_goal_can_be_missed_and_the_exit_code_says_so(name: str, value: float, missed: str) -> None:
    bad = GOOD | {name: value}
    assert [row for row, held in met(bad).items() if not held] == [missed]
    assert exit_code(*judged(goals.ROWS, [bad])) == 1


def test_the_promise_of_the_restore_is_in_seconds_whatever_the_others_took() -> None:
    slow = GOOD | {"restore": 20.5, "pgbackrest restore": 40.0, "undump": 60.0}
    promised = "restore and that log, to first write"
    assert [row for row, held in met(slow).items() if not held] == [promised]
    assert {missed for _, _, missed in MISSES} | {promised} == set(met(GOOD))


def test_a_tool_that_is_not_here_takes_its_rows_with_it_and_nothing_else() -> None:
    bare = {name: value for name, value in GOOD.items() if "pgbackrest" not in name and name != "zstd"}
    rows, missing = judged(goals.rows(pgbackrest=False, zstd=False), [bare])
    assert missing == []
    assert not any("pgBackRest" in row.name or "zstd" in row.name for row in rows)
    assert len(rows) == len(goals.ROWS) - 7
    _, untried = judged(goals.ROWS, [bare])
    assert len(untried) == 7


def test_a_figure_that_was_not_measured_is_not_called_met() -> None:
    short = {name: value for name, value in GOOD.items() if name != "failover"}
    rows, missing = judged(goals.ROWS, [GOOD, short])
    assert missing == ["failover by promotion, detection included"]
    assert exit_code(rows, missing) == 3
