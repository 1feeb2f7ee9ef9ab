"""The door: measured waiting moves the limit, what waited too long is refused, and no domain takes the others' room."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from system.admission import (
    ALLOWED_S,
    FIRST,
    INTERVAL_S,
    LEAST,
    MOST,
    SHORT_PATIENCE_S,
    STANDS_S,
    TARGET_S,
    Door,
    Gate,
    Limit,
    pressure,
    retry_after_s,
)
from system.errors import Unavailable


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def wait(limit: Limit, *waits_s: float, took_s: float = 0.0, reached: bool = True, intervals: int = 1) -> None:
    """Jobs that waited so long, in each of the intervals."""
    for number in range(intervals + 1):
        if reached:
            limit.reached()
        for waited_s in waits_s:
            limit.waited(waited_s, took_s, 1000.0 + number * INTERVAL_S)


def test_the_limit_shrinks_while_even_the_shortest_wait_is_long() -> None:
    limit = Limit()
    wait(limit, 2 * TARGET_S, 3 * TARGET_S)
    assert limit.value == int(FIRST * 0.7)
    wait(limit, 2 * TARGET_S, intervals=50)
    assert limit.value == LEAST


def test_the_limit_never_falls_below_what_the_lane_gets_done_in_a_moment() -> None:
    busy = Limit()
    wait(busy, *[2 * TARGET_S] * 50, intervals=100)
    assert busy.value == pytest.approx(50 / INTERVAL_S * ALLOWED_S, abs=2)


def test_a_burst_makes_some_wait_long_and_moves_nothing_down() -> None:
    limit = Limit()
    wait(limit, 50 * TARGET_S, TARGET_S / 2, reached=False)
    assert limit.value == FIRST


def test_a_wait_as_long_as_the_job_before_is_no_queue() -> None:
    limit = Limit()
    wait(limit, 1.0, took_s=0.5, reached=False)
    assert limit.value == FIRST


def test_the_limit_grows_only_when_somebody_had_to_wait_for_it() -> None:
    idle, wanted = Limit(), Limit()
    wait(idle, 0.0, reached=False, intervals=50)
    wait(wanted, 0.0, intervals=50)
    assert (idle.value, wanted.value) == (FIRST, MOST)


class Bench:
    """A gate with a limit that stands, and what became of those who came."""

    def __init__(self, most: int) -> None:
        self.clock = Clock()
        self.refused: list[str] = []
        self.gate = Gate("read", Limit(1, most, most), self.clock, self._refuse)
        self.inside: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    def _refuse(self, domain: str, reason: str) -> Unavailable:
        self.refused.append(f"{domain} {reason}")
        return Unavailable(reason, "No.")

    async def come(self, name: str, domain: str = "users") -> asyncio.Task[None]:
        async def run() -> None:
            await self.gate.enter(domain)
            self.inside.append(name)

        task = asyncio.create_task(run())
        self._tasks.append(task)
        await settled()
        return task

    async def leave(self, domain: str = "users") -> None:
        self.gate.leave(domain)
        await settled()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def played(story: Callable[[Bench], Coroutine[Any, Any, None]], most: int = 2) -> Bench:
    async def run() -> Bench:
        bench = Bench(most)
        try:
            await story(bench)
        finally:
            await bench.close()
        return bench

    return asyncio.run(run())


def test_the_first_come_goes_in_first_while_the_queue_is_young() -> None:
    async def story(bench: Bench) -> None:
        for name in ("a", "b", "c"):
            await bench.come(name)
        await bench.leave()

    assert played(story).inside == ["a", "b"]


def test_the_newest_goes_in_first_once_the_queue_stands_and_the_oldest_are_refused() -> None:
    async def story(bench: Bench) -> None:
        for name in ("inside", "old"):
            await bench.come(name)
        bench.clock.now += STANDS_S
        await bench.come("newer")
        bench.clock.now += SHORT_PATIENCE_S / 2
        await bench.come("newest")
        await bench.leave()

    bench = played(story)
    assert bench.inside == ["inside", "newest"]
    assert bench.refused == ["users queue-too-long"]


def test_nobody_waits_longer_than_the_long_patience_however_still_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("system.admission.PATIENCE_S", 0.01)

    async def story(bench: Bench) -> None:
        await bench.come("inside")
        late = await bench.come("late")
        with pytest.raises(Unavailable):
            await late

    assert played(story).refused == ["users queue-too-long"]


def test_a_domain_has_half_of_the_room_and_the_others_have_the_rest() -> None:
    async def story(bench: Bench) -> None:
        for number in range(5):
            await bench.come(f"greedy {number}", "challenges")
        await bench.come("modest", "users")
        await bench.leave("challenges")

    assert played(story, most=4).inside == ["greedy 0", "greedy 1", "modest", "greedy 2"]


def test_who_gives_up_while_waiting_leaves_no_hole() -> None:
    async def story(bench: Bench) -> None:
        await bench.come("inside")
        gone = await bench.come("gone")
        gone.cancel()
        await settled()
        await bench.come("next")
        await bench.leave()

    assert played(story).inside == ["inside", "next"]


def test_who_is_called_in_and_gives_up_at_once_leaves_no_hole() -> None:
    async def story(bench: Bench) -> None:
        await bench.come("inside")
        gone = await bench.come("gone")
        await bench.come("next")
        bench.gate.leave("users")  # calls `gone` in, which has not run yet
        gone.cancel()
        await settled()

    assert played(story).inside == ["inside", "next"]


def test_the_places_bound_those_inside_and_those_waiting_together() -> None:
    async def story() -> list[str]:
        door = Door(4)
        codes = []
        for domain in ("users", "users", "users", "challenges", "matches", "matches"):
            try:
                await door.enter("read", domain)
            except Unavailable as error:
                codes.append(error.code)
        door.leave("read", "users")
        await door.enter("write", "users")
        return codes

    assert asyncio.run(story()) == ["domain-full", "service-full"]


@pytest.mark.parametrize(("offered", "refused", "times"), [(100, 0, 1.0), (100, 50, 2.0), (400, 300, 4.0), (5, 5, 5.0)])
def test_pressure_is_what_is_offered_by_what_is_taken(offered: int, refused: int, times: float) -> None:
    assert pressure(offered, refused) == times


def test_the_refused_come_back_over_as_many_seconds_as_the_pressure_wants() -> None:
    dice = random.Random(1)
    assert {retry_after_s(1.0, dice) for _ in range(200)} == {1, 2}
    assert {retry_after_s(4.0, dice) for _ in range(200)} == {1, 2, 3, 4, 5}
    assert {retry_after_s(1000.0, dice) for _ in range(500)} == set(range(1, 9))
