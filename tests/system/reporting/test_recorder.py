"""What waits to be recorded is bounded, written once, kept while it is refused, and counted when it is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from system.errors import Conflict, OutcomeUnknown, ServiceError, Unavailable
from system.jobs import Job
from system.metrics import REGISTRY
from system.reporting import record_jobs
from system.reporting.losses import TOLD_S, Losses
from system.reporting.recorder import after
from system.reporting.rollups import HOUR_S, MINUTE_S, Tallies
from system.reporting.shelves import KEPT, SLICE, Groups, Rows, Sums

MINUTE_MS = 60_000


class Lane:
    """A write lane that answers as told, and remembers what it was given."""

    def __init__(self, *outcomes: str | None) -> None:
        self.outcomes = list(outcomes)
        self.rows: list[Any] = []
        self.jobs = 0

    async def write(self, _job: Job, rows: list[Any]) -> str | None:
        self.jobs += 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is None:
            self.rows += rows
        return outcome


def dropped(record: str, reason: str) -> float:
    return REGISTRY.get_sample_value("gymkhana_records_dropped_total", {"record": record, "reason": reason}) or 0.0


def test_rows_are_written_in_slices_in_their_order() -> None:
    rows, lane = Rows("activity", record_jobs.keep_requests, Losses()), Lane()
    for number in range(2 * SLICE + 1):
        rows.put(number)
    asyncio.run(rows.flush(lane.write))
    asyncio.run(rows.flush(lane.write))
    assert (lane.rows, lane.jobs) == (list(range(2 * SLICE + 1)), 3)


def test_a_full_queue_drops_the_newest_and_counts_it() -> None:
    losses = Losses()
    rows, lane = Rows("a full queue", record_jobs.keep_requests, losses, places=2), Lane()
    for number in range(5):
        rows.put(number)
    assert dropped("a full queue", "queue-full") == 3
    assert losses.told() == "3 records of a full queue were lost (queue-full)."
    asyncio.run(rows.flush(lane.write))
    assert lane.rows == [0, 1]


def test_refused_rows_are_kept_and_those_that_failed_are_counted() -> None:
    losses = Losses()
    rows, lane = Rows("refused", record_jobs.keep_requests, losses), Lane(KEPT, None, "job-failed")
    rows.put(1)
    asyncio.run(rows.flush(lane.write))
    assert (lane.rows, losses.told()) == ([], "")
    asyncio.run(rows.flush(lane.write))
    assert lane.rows == [1]
    for number in (2, 3):
        rows.put(number)
    asyncio.run(rows.flush(lane.write))
    asyncio.run(rows.flush(lane.write))
    assert lane.rows == [1]
    assert dropped("refused", "job-failed") == 2


def test_rows_that_are_refused_do_not_ask_again_with_every_row_that_comes() -> None:
    rows = Rows("activity", record_jobs.keep_requests, Losses())
    for number in range(SLICE):
        assert not rows.wake.is_set()
        rows.put(number)
    assert rows.wake.is_set()
    rows.wake.clear()
    asyncio.run(rows.flush(Lane(KEPT).write))
    rows.put("one more")
    assert not rows.wake.is_set()


def test_rows_that_come_while_a_slice_is_written_wait_for_the_next() -> None:
    rows, lane = Rows("activity", record_jobs.keep_requests, Losses()), Lane()

    async def write(job: Job, given: list[Any]) -> str | None:
        rows.put("late")
        return await lane.write(job, given)

    rows.put("early")
    asyncio.run(rows.flush(write))
    assert lane.rows == ["early"]
    asyncio.run(rows.flush(lane.write))
    assert lane.rows == ["early", "late"]


def test_errors_of_one_kind_are_one_row_with_a_count() -> None:
    groups, lane = Groups(Losses()), Lane(KEPT)
    for number in range(3):
        groups.put(100 + number, Unavailable("lane-full", "Full."), 503, "users.me", f"request-{number}")
    groups.put(200, Unavailable("lane-full", "Full."), 503, "users.user", "another")
    asyncio.run(groups.flush(lane.write))  # kept
    groups.put(300, Unavailable("lane-full", "Full."), 503, "users.me", "newest")
    asyncio.run(groups.flush(lane.write))
    found = {
        row[record_jobs.REQUEST_ID]: (row[record_jobs.COUNT], row[record_jobs.FIRST_MS], row[record_jobs.LAST_MS])
        for row in lane.rows
    }
    assert found == {"newest": (4, 100, 300), "another": (1, 200, 200)}
    assert [row[0] for row in lane.rows] == sorted(row[0] for row in lane.rows)


def test_more_groups_than_there_are_places_are_counted() -> None:
    groups = Groups(Losses(), places=1)
    before = dropped("errors", "queue-full")
    for flow in ("one", "two", "two", "one"):
        groups.put(1, Unavailable("lane-full", "Full."), 503, flow, "r")
    assert dropped("errors", "queue-full") == before + 2


def test_what_is_left_when_the_process_ends_is_counted() -> None:
    losses = Losses()
    rows, groups, sums = Rows("the last ones", record_jobs.keep_requests, losses), Groups(losses), Sums(losses)
    before = [dropped(record, "process-ended") for record in ("the last ones", "errors", "rollups")]
    for _ in range(2):
        rows.put(1)
        groups.put(1, Unavailable("lane-full", "Full."), 503, "users.me", "r")
        sums.put(1, "users.me", 200, 1)
    for shelf in (rows, groups, sums, rows):
        shelf.abandon()
    after_ = [dropped(record, "process-ended") for record in ("the last ones", "errors", "rollups")]
    assert after_ == [one + 2 for one in before]


def test_sums_are_of_the_minute_and_the_hour_and_survive_a_refusal() -> None:
    tallies = Tallies()
    for at_ms, status, took_us in ((0, 200, 4_000), (1, 404, 5_000), (MINUTE_MS, 503, 2_000_000)):
        assert tallies.add(at_ms, "users.me", status, took_us)
    rows = tallies.take()
    assert tallies.give_back(rows) == 0
    assert tallies.take() == rows
    assert [row[:7] for row in rows] == [
        [MINUTE_S, 0, "users.me", 2, 1, 0, 9_000],
        [MINUTE_S, MINUTE_MS, "users.me", 1, 0, 1, 2_000_000],
        [HOUR_S, 0, "users.me", 3, 1, 1, 2_009_000],
    ]
    assert [row[7:] for row in rows] == [[2, *[0] * 7], [0] * 8, [2, *[0] * 7]]


def test_lost_sums_count_the_requests_they_were_of() -> None:
    sums = Sums(Losses())
    before = dropped("rollups", "job-failed")
    for _ in range(3):
        sums.put(0, "users.me", 200, 10)
    asyncio.run(sums.flush(Lane("job-failed").write))
    assert dropped("rollups", "job-failed") == before + 3


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Unavailable("read-only", "x"), KEPT),
        (Unavailable("lane-full", "x"), KEPT),
        (Unavailable("job-failed", "x"), "job-failed"),
        (Unavailable("job-too-long", "x"), "job-too-long"),
        (OutcomeUnknown("writer-lost", "x"), "outcome-unknown"),
        (Conflict("odd", "x"), "odd"),
    ],
)
def test_what_becomes_of_records_that_were_not_written(error: ServiceError, outcome: str) -> None:
    assert after(error) == outcome


def test_a_loss_is_told_for_a_minute_and_then_no_more() -> None:
    now = 0.0
    losses = Losses(lambda: now)
    losses.count("x", "queue-full", 2)
    now = TOLD_S
    assert losses.told() == "2 records of x were lost (queue-full)."
    now = 2 * TOLD_S + 1
    assert losses.told() == ""
    losses.count("x", "job-failed")
    assert losses.told() == "1 records of x were lost (job-failed)."
