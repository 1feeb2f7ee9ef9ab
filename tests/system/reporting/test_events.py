"""Events are counted from the evidence, a minute once it is over, however often."""

from __future__ import annotations

import pytest

from system.challenge_service import LIFETIME_MS
from system.reporting import events, record_jobs
from system.reporting.events import BACK_MINUTES, MINUTE_MS, SETTLED_MS, next_minute
from system.reporting.history import BEAT_MS, is_due
from system.reporting.rollups import SUMS, Tallies, percentile_ms, rows_of_kinds, series
from tests.system.gym import START_MS, Gym

NOON = 12 * 60 * MINUTE_MS


@pytest.mark.parametrize(
    ("last_ms", "at_ms", "due"),
    [
        (NOON, NOON + 2 * MINUTE_MS + SETTLED_MS, NOON + MINUTE_MS),
        (NOON, NOON + 2 * MINUTE_MS + SETTLED_MS - 1, None),
        (None, NOON + SETTLED_MS, NOON - MINUTE_MS),
        (0, NOON + SETTLED_MS, NOON - BACK_MINUTES * MINUTE_MS),
    ],
)
def test_a_minute_is_counted_when_it_is_over_and_missed_ones_an_hour_back(
    last_ms: int | None, at_ms: int, due: int | None
) -> None:
    assert next_minute(last_ms, at_ms) == due


def test_what_happened_is_what_the_evidence_says(busy: Gym) -> None:
    minute_ms = START_MS // MINUTE_MS * MINUTE_MS
    counted = {name: (count, amount) for name, count, amount in busy.read(events.happened, minute_ms)}
    (moved,) = busy.rows(
        "SELECT count(*), sum(amount) FROM points_transfers WHERE at_ms >= ? AND at_ms < ?",
        minute_ms, minute_ms + MINUTE_MS,
    )  # fmt: skip
    assert counted["users.signed-up"] == (4, 0)
    assert counted["users.logged-in"] == (1, 0)
    assert counted["points.moved"] == (moved[0], int(moved[1]))
    assert counted["minutes.counted"] == (1, 0)
    delivered_ms = (START_MS + LIFETIME_MS) // MINUTE_MS * MINUTE_MS
    later = {name: count for name, count, _ in busy.read(events.happened, delivered_ms)}
    assert later["notifications.delivered"] == busy.rows("SELECT count(*) FROM notifications")[0][0]


def test_a_minute_counted_twice_is_counted_once_and_its_hour_is_the_sum(gym: Gym) -> None:
    for minute, happened in ((0, 3), (0, 4), (MINUTE_MS, 5), (60 * MINUTE_MS, 7)):
        gym.apply(record_jobs.set_events, minute, [["users.signed-up", happened, 2 * happened]])
    asked = "SELECT start_ms, happened, amount FROM event_rollups WHERE width_s = ? ORDER BY start_ms"
    assert gym.rows(asked, 60) == [(0, 4, 8), (MINUTE_MS, 5, 10), (60 * MINUTE_MS, 7, 14)]
    assert gym.rows(asked, 3600) == [(0, 9, 18), (60 * MINUTE_MS, 7, 14)]
    shown = gym.read(series, 3600, 0, 61 * MINUTE_MS)
    assert [one["happened"] for one in shown["events"]] == [9, 7]


@pytest.mark.parametrize(("share", "bound"), [(0.5, 5.0), (0.9, 25.0), (0.99, None)])
def test_a_percentile_is_the_bucket_it_lies_in(share: float, bound: float | None) -> None:
    sums = dict.fromkeys(SUMS, 0) | {"requests": 100, "within_5_ms": 60, "within_25_ms": 35}
    assert percentile_ms(list(sums.values()), share) == bound


@pytest.mark.parametrize(
    ("before", "written_ms", "now", "at_ms", "due"),
    [
        (None, 0, ("pass", ""), 1, True),
        (("pass", ""), 0, ("pass", ""), BEAT_MS - 1, False),
        (("pass", ""), 0, ("pass", ""), BEAT_MS, True),
        (("pass", ""), 0, ("fail", "gone"), 1, True),
    ],
)
def test_health_is_written_when_it_changes_and_once_a_minute(
    before: tuple[str, str] | None, written_ms: int, now: tuple[str, str], at_ms: int, due: bool
) -> None:
    assert is_due(before, written_ms, now, at_ms) == due


def test_sums_of_longer_steps_and_of_whole_hours_are_those_of_their_minutes(gym: Gym) -> None:
    """A span that begins and ends within an hour: whole hours are read by the hour, and no request twice."""
    hour_ms = 60 * MINUTE_MS
    for minute in range(3 * 60):
        tally = Tallies()
        for _ in range(1 + minute % 3):
            tally.add(minute * MINUTE_MS, f"kind-{minute % 2}", 200, 1_000)
        gym.apply(record_jobs.add_rollups, tally.take())
    counts = [1 + minute % 3 for minute in range(3 * 60)]
    by_quarter = gym.read(series, 60, 0, 3 * hour_ms, None, 900)["requests"]
    assert [(row["start_ms"], row["requests"]) for row in by_quarter] == [
        (place * 900_000, sum(counts[place * 15 : place * 15 + 15])) for place in range(12)
    ]
    for begin, end in ((40, 130), (0, 180), (60, 120), (61, 119), (10, 50)):
        kinds = gym.read(rows_of_kinds, 60, begin * MINUTE_MS, end * MINUTE_MS)
        assert sum(row["requests"] for row in kinds) == sum(counts[begin:end]), (begin, end)
        assert {row["kind"] for row in kinds} == {"kind-0", "kind-1"}
