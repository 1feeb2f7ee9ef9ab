"""What a hundred who watch a board cost the service: busy with them and without, by turns, in one run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.conftest import Report, Timed
from tests.bench.figures import at_most, plain
from tests.bench.service.ground import Ground, Load, Production
from tests.system.admin.visitors import let_in

pytestmark = [pytest.mark.benchmark_only, pytest.mark.timeout(1_800)]

WATCHERS, ROUNDS = 100, 8
LOAD = Load(connections=32, seconds=4.0, warm_s=1.0)
TOKEN = "gymadm_of-a-hundred-who-watch"

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


def test_a_hundred_who_watch(bench: Path, report: Report, timed: Timed) -> None:
    """The service as busy as it can be, per second and per CPU-second; the watchers' own CPU is on the same cores."""
    with tempfile.TemporaryDirectory(dir=bench, prefix="watched-") as directory:
        ground = Ground(Production(Path(directory) / "stand"), users=300, tournaments=10)
        ground.build(history_s=2.0)
        rates: dict[bool, list[float]] = {True: [], False: []}
        per_cpu: dict[bool, list[float]] = {True: [], False: []}
        order = [False, True]

        def measure(*, watching: bool) -> None:
            ground.fresh()
            let_in(ground.stand.database_url, TOKEN, ["read:boards"])
            with ground.serving(workers=1) as pids:
                if watching:
                    with watched(ground.stand.port):
                        found = ground.busy(ground.stand.port, pids, LOAD)
                else:
                    found = ground.busy(ground.stand.port, pids, LOAD)
            assert found.counted.unexpected == {}
            rates[watching].append(found.rate)
            per_cpu[watching].append(found.per_cpu_s)

        def both() -> None:
            for watching in order:
                measure(watching=watching)
            order.reverse()

        timed(both, ROUNDS)
    for told, figures in (("requests/s", rates), ("requests per CPU-second", per_cpu)):
        with_, without = figures[True][1:], figures[False][1:]
        cost = [100 * (1 - one / other) for one, other in zip(with_, without, strict=True)]
        report(plain(f"nobody watches, {told}", without, ""))
        report(plain(f"{WATCHERS} watch, {told}", with_, ""))
        report(at_most(f"what {WATCHERS} who watch cost of {told}", cost, "%", 5))
