"""Progress in lines: rare, and with the rate and the time that is left."""

from __future__ import annotations

import json

import pytest

from backups.progress import Lines, line, record


def test_a_line_comes_every_ten_seconds_and_none_for_short_work() -> None:
    said: list[str] = []
    now = 0.0
    lines = Lines(said.append, monotonic=lambda: now)
    for second in range(26):
        now = float(second)
        lines(second, 100, "build")
    assert said == [
        "build 10% (0.0 of 0.0 MB) at 0.0 MB/s, 90 s left",
        "build 20% (0.0 of 0.0 MB) at 0.0 MB/s, 80 s left",
    ]


def test_the_time_left_is_that_of_the_phase() -> None:
    said: list[str] = []
    now = 0.0
    lines = Lines(said.append, monotonic=lambda: now)
    lines(50, 100, "copy")
    now = 100.0
    lines(0, 100, "store")
    now = 110.0
    lines(50, 100, "store")
    assert said == ["store 0% (0.0 of 0.0 MB)", "store 50% (0.0 of 0.0 MB) at 0.0 MB/s, 10 s left"]


@pytest.mark.parametrize(
    ("done", "total", "elapsed", "text"),
    [
        (0, 0, 5.0, "check 0% (0.0 of 0.0 MB)"),
        (5_000_000, 10_000_000, 0.0, "check 50% (5.0 of 10.0 MB)"),
        (10_000_000, 10_000_000, 5.0, "check 100% (10.0 of 10.0 MB)"),
        (2_500_000, 10_000_000, 5.0, "check 25% (2.5 of 10.0 MB) at 0.5 MB/s, 15 s left"),
    ],
)
def test_a_line_says_what_it_can(done: int, total: int, elapsed: float, text: str) -> None:
    assert line(done, total, "check", elapsed) == text


def test_a_machine_gets_a_document_a_line() -> None:
    said: list[str] = []
    now = 0.0
    lines = Lines(said.append, told=record, every_s=1.0, monotonic=lambda: now)
    for second in (0.0, 0.9, 2.0):
        now = second
        lines(int(25 * second), 100, "build")
    assert [json.loads(one) for one in said] == [
        {"phase": "build", "done_bytes": 50, "total_bytes": 100, "rate_bytes_s": 25, "eta_s": 2.0}
    ]


def test_what_is_not_known_yet_is_null() -> None:
    assert json.loads(record(0, 100, "build", 3.0))["eta_s"] is None
