"""Records go when they are too old or too many, the oldest first and a slice at a time, and none before."""

from __future__ import annotations

import pytest

from system.reporting import record_jobs, retention
from system.reporting.retention import DAY_MS, KEPT, SLICE, Bound, Extent, Slice, slice_of
from tests.system.gym import Gym
from tests.system.reporting.kept import keep, request_rows

NOW_MS = 100 * DAY_MS
BOUND = Bound(days=10, rows=100)


@pytest.mark.parametrize(
    ("extent", "due"),
    [
        (Extent(), None),
        (Extent(90 * DAY_MS, 1, 100), None),
        (Extent(90 * DAY_MS - 1, 1, 100), Slice(before_ms=90 * DAY_MS)),
        (Extent(95 * DAY_MS, 1, 101), Slice(up_to_id=1)),
        (Extent(95 * DAY_MS, 501, 700), Slice(up_to_id=600)),
    ],
)
def test_what_may_go(extent: Extent, due: Slice | None) -> None:
    assert slice_of(extent, BOUND, NOW_MS) == due


def prune(gym: Gym, bound: Bound, now_ms: int) -> int:
    """Prunes as the service does, until nothing is due; how many slices that took."""
    slices = 0
    while (due := slice_of(gym.read(KEPT["activity"].extent), bound, now_ms)) is not None:
        gym.apply(retention.prune_rows, "activity", due.before_ms, due.up_to_id)
        slices += 1
    return slices


def test_the_oldest_go_first_and_a_slice_at_a_time(gym: Gym) -> None:
    rows = request_rows(SLICE + 40)
    keep(gym, rows)
    assert prune(gym, Bound(days=10**6, rows=30), 0) == 2
    assert [row[0] for row in gym.rows("SELECT took_us FROM request_records ORDER BY id")] == [
        row[4] for row in rows[-30:]
    ]
    assert prune(gym, Bound(days=1, rows=10**6), rows[-1][0] + DAY_MS) == 1
    assert {row[0] for row in gym.rows("SELECT at_ms FROM request_records")} == {rows[-1][0]}
    assert prune(gym, Bound(days=1, rows=10**6), rows[-1][0] + DAY_MS) == 0


def test_every_record_can_be_pruned(gym: Gym) -> None:
    gym.apply(record_jobs.keep_errors, [["aa", "Kind", "code", "place", 503, "m", "r", 1, 5, 10]])
    gym.apply(record_jobs.keep_health, [[10, 1, "pass", ""]])
    gym.tamper(
        "INSERT INTO admin_audit (operation_id, at_ms, actor, address, action, subject, detail)"
        " VALUES ('audited', 10, 'ann', '::1', 'account.disabled', 'account bob', '')"
    )
    gym.apply(record_jobs.set_events, 60_000, [["points.moved", 1, 5]])
    gym.apply(record_jobs.add_rollups, [[60, 60_000, "users.me", *[1] * 12]])
    for record in ("errors", "health", "audit"):
        gym.apply(retention.prune_rows, record, 10, 0)
        assert gym.read(KEPT[record].extent).oldest_ms == 10
        gym.apply(retention.prune_rows, record, 11, 0)
        assert gym.read(KEPT[record].extent) == Extent()
    gym.apply(retention.prune_rollups, 60, 60_001)
    assert gym.rows("SELECT * FROM request_rollups") == []
    assert [row[0] for row in gym.rows("SELECT width_s FROM event_rollups")] == [3600]
