"""The writer waits for more jobs only where more are coming, and never where somebody writes alone."""

from __future__ import annotations

import pytest

from system.gathering import PACE_S, THICK_S, Gathering

LAST = 10.0
"""When the last batch of a stream begins."""


def stream(gap_s: float, *, company: bool = True, jobs: int = 200) -> Gathering:
    """One job after another has come, each a batch of its own; nothing is left of what was before."""
    gathering = Gathering()
    for number in range(jobs):
        gathering.began(1, company, LAST - (jobs - 1 - number) * gap_s)
    return gathering


def test_the_first_job_of_all_waits_for_nobody() -> None:
    assert Gathering().pause_s(LAST) == 0.0


def test_where_jobs_come_thick_and_in_company_a_batch_begins_at_the_pace() -> None:
    assert stream(THICK_S / 2).pause_s(LAST + 0.0005) == pytest.approx(PACE_S - 0.0005)


def test_a_client_that_waits_for_each_answer_never_waits_for_others_however_quick_it_is() -> None:
    assert stream(THICK_S / 10, company=False).pause_s(LAST) == 0.0


def test_jobs_in_company_that_come_thin_wait_for_nobody() -> None:
    assert stream(1.5 * THICK_S).pause_s(LAST) == 0.0


def test_nobody_waits_after_a_batch_that_took_longer_than_the_pace() -> None:
    assert stream(THICK_S / 2).pause_s(LAST + PACE_S) == 0.0


def test_large_batches_that_come_thin_are_no_stream() -> None:
    """Jobs are counted over the time in which they came: a queue that stood for a moment says nothing of the next one."""
    gathering = stream(1.0)
    gathering.began(64, True, LAST + 1.0)
    assert gathering.pause_s(LAST + 1.0) == 0.0


def test_a_burst_is_seen_within_a_few_batches_and_forgotten_as_soon() -> None:
    gathering = stream(1.0, company=False)
    for number in range(1, 5):
        gathering.began(8, True, LAST + number * PACE_S)
    assert gathering.pause_s(LAST + 4 * PACE_S) == pytest.approx(PACE_S)
    for number in range(1, 9):
        gathering.began(1, False, LAST + number)
    assert gathering.pause_s(LAST + 8) == 0.0


def test_what_a_full_batch_left_behind_has_not_arrived_again() -> None:
    gathering = stream(THICK_S / 2)
    gathering.began(0, True, LAST + 1.0)
    assert gathering.pause_s(LAST + 1.0) == pytest.approx(PACE_S)
