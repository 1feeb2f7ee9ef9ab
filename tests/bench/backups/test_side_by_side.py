"""The benchmark itself, on two megabytes: it measures what it says, and leaves nothing behind but its database."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.bench import machine
from tests.bench.backups import anchors, events, side_by_side
from tests.bench.backups.goals import ROWS
from tests.bench.backups.writer import PER_SECOND, Writes, percentile, writing
from tests.bench.goals import judged, turns


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return events.built(tmp_path_factory.mktemp("bench"), 2)


def copied(database: Path, into: Path) -> Path:
    into.write_bytes(database.read_bytes())
    return into


def test_the_database_has_its_size_and_is_built_once_and_the_same_everywhere(database: Path, tmp_path: Path) -> None:
    assert 2_000_000 <= database.stat().st_size < 4_000_000
    before = database.stat().st_mtime_ns
    assert events.built(database.parent, 2) == database
    assert database.stat().st_mtime_ns == before
    assert [path.name for path in database.parent.iterdir()] == [database.name]
    assert events.built(tmp_path, 2).read_bytes() == database.read_bytes()


def test_scattered_changes_touch_the_share_of_pages_that_they_say(database: Path, tmp_path: Path) -> None:
    path = copied(database, tmp_path / "live.db")
    share = events.scatter(path, 0.05, seed=1)
    before, after = database.read_bytes(), path.read_bytes()
    pages = len(before) // events.PAGE_BYTES
    size = events.PAGE_BYTES
    differ = sum(
        before[page * size : (page + 1) * size] != after[page * size : (page + 1) * size] for page in range(pages)
    )
    assert len(after) == len(before)
    assert differ / pages == pytest.approx(share)
    assert share == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("copy", [anchors.cp, anchors.online_backup, anchors.vacuum_into])
def test_every_anchor_makes_a_whole_copy(copy: anchors.Copy, database: Path, tmp_path: Path) -> None:
    live = copied(database, tmp_path / "live.db")
    copy(live, tmp_path / "copy.db")
    with closing(events.connect(live)) as one, closing(events.connect(tmp_path / "copy.db")) as other:
        for table in ("users", "events", "notifications"):
            select = f"SELECT * FROM {table} ORDER BY id"
            assert one.execute(select).fetchall() == other.execute(select).fetchall()


def test_the_methods_take_turns() -> None:
    order = ["".join(turns(["a", "b", "c"], number)) for number in range(4)]
    assert order == ["abc", "bca", "cab", "abc"]


def test_no_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"The benchmark needs 1000000 GB and .* free; make it smaller"):
        machine.require_room(tmp_path, 10**15)


def test_a_percentile_is_one_of_the_latencies() -> None:
    latencies = [number / 1000 for number in range(1, 201)]
    assert percentile(latencies, 0.99) == 0.198
    assert percentile([0.5], 0.99) == 0.5
    assert Writes([(1.0, 0.1), (2.0, 0.2), (3.0, 0.3)]).latencies(2.0, 3.0) == [0.2]


@pytest.mark.processes
def test_a_stall_is_felt_by_every_write_that_was_due_in_it(database: Path, tmp_path: Path) -> None:
    """While somebody else holds the lock nothing can be durable, so each of those waited until it was let go."""
    live = copied(database, tmp_path / "live.db")
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT max(i) FROM n"
    with closing(events.connect(live)) as blocker, writing(live) as writes:
        blocker.execute("BEGIN IMMEDIATE")
        begin_t = time.monotonic()
        blocker.execute(count).fetchall()
        end_t = time.monotonic()
        blocker.execute("COMMIT")
    felt = [(due, latency) for due, latency in writes.samples if begin_t <= due < end_t]
    due = [at for at, _ in writes.samples]
    per_second = (len(due) - 1) / (max(due) - min(due))
    assert per_second == pytest.approx(PER_SECOND, rel=0.01)  # each has its instant, whatever became of the one before
    assert len(felt) >= int((end_t - max(begin_t, min(due))) * PER_SECOND) - 1
    assert all(due + latency >= end_t for due, latency in felt)


@pytest.mark.processes
def test_a_round_measures_everything_and_leaves_nothing(tmp_path: Path) -> None:
    terms = side_by_side.Terms(2, 1, tiring_bytes=0, writer_seconds=0.5, bench=tmp_path)
    said: list[str] = []
    rows, missing = judged(ROWS, side_by_side.measure(terms, said.append))
    assert missing == []
    assert all(sample > 0 for row in rows for sample in row.samples)
    assert [path.name for path in (tmp_path / "backups").iterdir()] == ["events-1-2mb.db"]
    assert len(said) == 3
