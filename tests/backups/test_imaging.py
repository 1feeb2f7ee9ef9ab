"""Reading an image once: what is stored, at what pace, and what is told on the way."""

from __future__ import annotations

from dataclasses import dataclass, field

from backups.imaging import Pace


@dataclass
class FakeTime:
    now_t: float = 0.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now_t

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_t += seconds


def test_a_pace_is_kept_on_average() -> None:
    time = FakeTime()
    pace = Pace(1000, time.monotonic, time.sleep)
    for done_bytes in (500, 1000, 4000):
        pace.keep(0.0, done_bytes)
    assert time.slept == [0.5, 0.5, 3.0]


def test_who_is_slower_than_the_pace_is_not_held_up() -> None:
    time = FakeTime(now_t=100.0)
    Pace(1000, time.monotonic, time.sleep).keep(0.0, 4000)
    assert time.slept == []


def test_no_pace_is_as_fast_as_it_goes() -> None:
    time = FakeTime()
    Pace(None, time.monotonic, time.sleep).keep(0.0, 10**12)
    assert time.slept == []
