"""What a hundred who watch a board cost the service: busy with them and without, by turns, in one run."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from ci.loopback import HOST
from loadtests import scenario_file
from loadtests.assessment import assess
from loadtests.generator import read_samples
from loadtests.history import read_history
from loadtests.measure import Observation
from loadtests.plan import LoadPlan
from loadtests.scenario import GYM_DAY
from loadtests.tools import load_tool
from tests.bench.conftest import Report, Timed
from tests.bench.figures import at_most, plain
from tests.bench.service.ground import Ground, Load, Measured, Production
from tests.system.admin.visitors import let_in

pytestmark = [pytest.mark.benchmark_only, pytest.mark.timeout(1_800)]

WATCHERS, ROUNDS, THOUSAND_ROUNDS = 100, 8, 3
LOAD = Load(connections=32, seconds=4.0, warm_s=1.0)
TOKEN = "gymadm_of-a-hundred-who-watch"

Pids = tuple[int, ...]
Watched = dict[bool, list[Any]]

WATCH = """
import asyncio, sys
told = [0] * int(sys.argv[3])
async def watch(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    ask = f"GET /admin/live?board=System HTTP/1.1\\r\\nHost: here\\r\\nAuthorization: Bearer {sys.argv[2]}\\r\\n\\r\\n"
    writer.write(ask.encode())
    assert (await reader.readline()).split()[1] == b"200"
    while line := await reader.readline():
        if line.startswith(b"data:"):
            told[number] += 1
            if told[number] == 1 and all(told):
                print("watching", flush=True)
async def all_of_them():
    watching = [asyncio.create_task(watch(number)) for number in range(len(told))]
    await asyncio.to_thread(sys.stdin.read)
    assert not any(one.done() for one in watching), "a stream has ended"
    print(min(told), flush=True)
    for one in watching:
        one.cancel()
asyncio.run(all_of_them())
"""
"""As many streams as it is told; says when each of them has told something, and at the end how often the quietest did."""


@contextmanager
def watched(port: int) -> Iterator[None]:
    """A hundred watch while the block runs, and each of them was told of more than its beginning."""
    command = [sys.executable, "-c", WATCH, str(port), TOKEN, str(WATCHERS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watchers:
        assert watchers.stdout is not None
        try:
            assert watchers.stdout.readline().strip() == "watching"
            yield
            told, _ = watchers.communicate(timeout=20)
        except BaseException:
            watchers.kill()
            raise
    assert watchers.returncode == 0
    assert int(told) >= LOAD.seconds


@pytest.fixture
def ground(bench: Path) -> Iterator[Ground]:
    """A stand for a thousand users, with something to look at."""
    with tempfile.TemporaryDirectory(dir=bench, prefix="watched-") as directory:
        built = Ground(Production(Path(directory) / "stand"), users=1000, tournaments=20)
        built.build(history_s=2.0)
        yield built


def by_turns(ground: Ground, timed: Timed, rounds: int, measure: Callable[[Pids], Any]) -> Watched:
    """What was measured while nobody watched and while a hundred did, in rounds that begin with another each."""
    found: Watched = {True: [], False: []}
    order = [False, True]

    def both() -> None:
        for watching in order:
            ground.fresh()
            let_in(ground.stand.database_url, TOKEN, ["read:boards"])
            with ground.serving(workers=1) as pids, watched(ground.stand.port) if watching else nullcontext():
                found[watching].append(measure(pids))
        order.reverse()

    timed(both, rounds)
    return {watching: figures[1:] for watching, figures in found.items()}  # without the round to warm up


def compared(report: Report, what: str, found: Watched, name: str, unit: str = "") -> list[float]:
    """The figures of that name of both, reported; what watching cost of them, in percent."""
    without, with_ = ([attrgetter(name)(one) for one in found[watching]] for watching in (False, True))
    report(plain(f"nobody watches, {what}", without, unit))
    report(plain(f"{WATCHERS} watch, {what}", with_, unit))
    return [100 * (1 - one / other) for one, other in zip(with_, without, strict=True)]


def test_a_hundred_who_watch(ground: Ground, report: Report, timed: Timed) -> None:
    """The service as busy as it can be, per second and per CPU-second; the watchers' own CPU is on the same cores."""

    def measure(pids: Pids) -> Measured:
        found = ground.busy(ground.stand.port, pids, LOAD)
        assert found.counted.unexpected == {}
        return found

    found = by_turns(ground, timed, ROUNDS, measure)
    for what, name in (("requests/s", "rate"), ("requests per CPU-second", "per_cpu_s")):
        report(at_most(f"what {WATCHERS} who watch cost of {what}", compared(report, what, found, name), "%", 5))


def test_a_hundred_who_watch_beside_a_thousand_users(ground: Ground, report: Report, timed: Timed) -> None:
    """The service as it is meant to be used: k6 plays a thousand users, who think for one to three seconds."""
    scenario = scenario_file.read(GYM_DAY)
    runs = itertools.count()

    def measure(_: Pids) -> Observation:
        run = f"watched-{next(runs)}"
        directory = ground.stand.directory / run
        plan = LoadPlan(
            url=f"http://{HOST}:{ground.stand.port}",
            users=1000,
            ramp_per_s=100.0,
            seconds=30.0,
            run=run,
            seed=scenario.seed,
            scenario=GYM_DAY,
            population=ground.stand.population,
            directory=directory,
        )
        with load_tool("k6").start(plan) as load:
            load.wait()
        assert not load.fault
        seen = assess(read_history(plan.ledger), scenario, read_samples(plan.samples), length_s=plan.length_s)
        assert seen.doubts == ()
        assert seen.steady.total.failures == 0
        return seen.steady

    found = by_turns(ground, timed, THOUSAND_ROUNDS, measure)
    cost = compared(report, "requests/s of 1000 users", found, "total.rate")
    report(at_most(f"what {WATCHERS} who watch cost of the requests/s of 1000 users", cost, "%", 5))
    compared(report, "p95 of 1000 users", found, "total.p95_ms", "ms")
