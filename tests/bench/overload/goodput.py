"""`make bench-overload`: what is left of the service at once, twice and four times its capacity, beside its goals.

The service is slowed to a capacity by design (the failpoint `slow-service`): at its full speed a generator on the same two
cores could not offer it four times that, and the figures would be the generator's. What the generator takes is shown too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from ci.loopback import HOST
from ci.stand import Stand, standing
from loadtests.population import read as read_population
from tests.bench.figures import Row, at_least, at_most, plain, table, write
from tests.bench.overload.arrivals import Answered, Arrival, Connections, play, poisson, rush

BENCH = Path(__file__).parents[3] / "var" / "bench"
VISIT_MS = 7.0
CLIENTS = 16
LEVELS = (1, 2, 4)
ASK_INTERVAL_S = 0.1
BODY = '{"bio": "Lifts things."}'


@dataclass(frozen=True, slots=True)
class Level:
    """One level of one round."""

    offered: int
    goodput: float
    p99_ms: float
    refused: int
    wrong: int
    late_ms: float
    cores: float
    health_ms: float
    ready_after_s: float


def slow(stand: Stand, visit_ms: float) -> None:
    """From now on every request takes so long, one after the other; whose session it is costs nothing."""
    armed: dict[str, object] = {
        "name": "slow-service",
        "seed": 1,
        "rate": 1.0,
        "until": time.monotonic() + 3600,
        "ms": visit_ms,
    }
    armed["domains"] = ["users", "tournaments", "challenges", "notifications"]
    (stand.failpoints / "slow-service.json").write_text(json.dumps(armed))


def requests_of(stand: Stand) -> list[bytes]:
    """Nine reads to a write, by every user of the stand."""
    made = []
    for user in read_population(stand.population).users:
        head = f"Host: gym\r\nAuthorization: Bearer {user.token}\r\n"
        reads = ["/users/me", "/tournaments", "/notifications", "/challenges", "/notifications/unread-count"]
        made += [f"GET {path} HTTP/1.1\r\n{head}\r\n".encode() for path in [*reads, *reads[:4]]]
        head += f"Run-Id: {stand.run}\r\nOperation-Id: <number>\r\nContent-Length: {len(BODY)}\r\n"
        made.append(f"PATCH /users/me HTTP/1.1\r\n{head}\r\n{BODY}".encode())
    return made


@contextlib.asynccontextmanager
async def asking(stand: Stand) -> AsyncIterator[list[float]]:
    """How long `/health/ready` and `/metrics` took, in ms, asked in turn while the block runs; inf for no answer of 200."""
    took: list[float] = []
    connections = Connections(HOST, stand.port)

    async def ask() -> None:
        paths = ("/health/ready", "/metrics", "/health/live")
        for number in range(10**9):
            began = time.monotonic()
            request = f"GET {paths[number % 3]} HTTP/1.1\r\nHost: gym\r\n\r\n".encode()
            status, _ = await connections.send(request)
            took.append((time.monotonic() - began) * 1000 if status == 200 else float("inf"))
            await asyncio.sleep(ASK_INTERVAL_S)

    task = asyncio.create_task(ask())
    try:
        yield took
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await connections.close()


async def level(stand: Stand, arrivals: list[Arrival], seconds: float) -> Level:
    """The arrivals played, and how long after the last one was due the service was ready and served at once."""
    connections = Connections(HOST, stand.port)
    cpu, began = time.process_time(), time.monotonic()
    async with asking(stand) as health:
        told = await play(connections, arrivals)
        cores = (time.process_time() - cpu) / (time.monotonic() - began)
        ready_after_s = await back(stand, connections, began + seconds)
    await connections.close()
    served = [one.latency_ms for one in told if 200 <= one.status < 300]
    late = sorted(one.late_ms for one in told)
    return Level(
        offered=len(told),
        goodput=sum(one.good for one in told) / seconds,
        p99_ms=percentile(served, 0.99),
        refused=sum(one.refused for one in told),
        wrong=sum(is_wrong(one) for one in told),
        late_ms=percentile(late, 0.99),
        cores=cores,
        health_ms=max(health),
        ready_after_s=ready_after_s,
    )


async def back(stand: Stand, connections: Connections, since: float) -> float:
    """Seconds from `since` until the service is ready and serves a read as it does when nobody else asks."""
    token = read_population(stand.population).users[0].token
    read = f"GET /users/me HTTP/1.1\r\nHost: gym\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    while True:
        began = time.monotonic()
        ready, _ = await connections.send(b"GET /health/ready HTTP/1.1\r\nHost: gym\r\n\r\n")
        status, _ = await connections.send(read)
        if (ready, status) == (200, 200) and time.monotonic() - began < 0.1:
            return max(0.0, time.monotonic() - since)
        await asyncio.sleep(0.02)


def is_wrong(one: Answered) -> bool:
    """Neither served nor refused as it should be: an unknown outcome, a 500, a refusal that does not say when."""
    return not (200 <= one.status < 300 or one.refused)


def percentile(values: list[float], share: float) -> float:
    """Of the nearest rank; inf of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


def rows(rounds: list[dict[int, Level]], capacity: float) -> list[Row]:
    """The figures, with the goals: ratios are within a round, so that a slow moment of the machine is in both halves."""
    found = [plain("capacity, 16 clients in a closed loop", [capacity], "requests/s")]
    for times in LEVELS:
        found.append(plain(f"offered at {times}x", [one[times].offered for one in rounds], "requests"))
        found.append(plain(f"goodput at {times}x", [one[times].goodput for one in rounds], "requests/s"))
        found.append(plain(f"p99 of the served at {times}x", [one[times].p99_ms for one in rounds], "ms"))
        found.append(plain(f"refused at {times}x", [one[times].refused for one in rounds], "requests"))
    peaks = [max(level.goodput for level in one.values()) for one in rounds]
    wrong = [sum(level.wrong for level in one.values()) for one in rounds]
    found += [
        at_least("goodput at 2x to 1x", [one[2].goodput / one[1].goodput for one in rounds], "x", 1.0),
        at_least("goodput at 4x to peak", [a[4].goodput / b for a, b in zip(rounds, peaks, strict=True)], "x", 0.9),
        at_most("p99 at 2x to 1x", [one[2].p99_ms / one[1].p99_ms for one in rounds], "x", 4.0),
        at_most("p99 at 4x to 1x", [one[4].p99_ms / one[1].p99_ms for one in rounds], "x", 4.0),
        at_most("neither served nor rightly refused", wrong, "requests", 0),
        at_most("slowest health or metrics at 4x", [one[4].health_ms for one in rounds], "ms", 1000),
        at_most("ready again after 4x", [one[4].ready_after_s for one in rounds], "s", 2.0),
        at_most("generator: p99 of being late at 4x", [one[4].late_ms for one in rounds], "ms", 50),
        at_most("generator: cores at 4x", [one[4].cores for one in rounds], "cores", 0.5),
    ]  # fmt: skip
    return found


async def measure(stand: Stand, count: int, seconds: float) -> tuple[list[dict[int, Level]], float]:
    """The rounds, and the capacity that their levels are multiples of."""
    requests = requests_of(stand)
    connections = Connections(HOST, stand.port)
    await rush(connections, requests, CLIENTS, 1.0)
    capacity = statistics.median([await rush(connections, requests, CLIENTS, 2.0) for _ in range(3)])
    await connections.close()
    rounds = []
    for number in range(count):
        found = {}
        for times in LEVELS:
            arrivals = poisson(times * capacity, seconds, requests, f"{stand.run}.{number}.{times}")
            found[times] = await level(stand, arrivals, seconds)
            say(f"round {number + 1} of {count}, {times}x: {found[times]}")
            await asyncio.sleep(0.5)
        rounds.append(found)
    return rounds, capacity


@contextlib.contextmanager
def slowed(directory: Path, visit_ms: float) -> Iterator[Stand]:
    """A serving stand of a capacity by design."""
    with standing(Stand(directory / "stand")) as stand:
        stand.build(users=50, tournaments=5, matches=5, seed=1)
        slow(stand, visit_ms)
        stand.start()
        stand.wait_ready()
        take_precedence(int(stand.processes()["supervisor"]["pid"]))
        yield stand


def take_precedence(pid: int) -> bool:
    """That process, its session and what it starts go before the others of a busy machine, where that is allowed.

    Where the kernel groups processes by session, their nice values count for nothing outside it, and the group has its own.
    """
    group = Path(f"/proc/{pid}/autogroup")
    try:
        if group.exists():
            group.write_text("-15")
        else:
            os.setpriority(os.PRIO_PROCESS, pid, -15)
    except OSError:
        return False
    return True


def say(text: str) -> None:
    """A line for whoever waits."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> int:
    """Prints the table and leaves it in var/bench/overload.json. A missed goal is shown and fails nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.overload.goodput", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    BENCH.mkdir(parents=True, exist_ok=True)
    first = take_precedence(os.getpid())
    with (
        tempfile.TemporaryDirectory(dir=BENCH, prefix="overload-") as directory,
        slowed(Path(directory), VISIT_MS) as stand,
    ):
        rounds, capacity = asyncio.run(measure(stand, given.rounds, given.seconds))
    found = rows(rounds, capacity)
    write(BENCH, "overload", found, visit_ms=VISIT_MS, seconds=given.seconds, precedence=first)
    for line in table({"overload": found}):
        sys.stdout.write(f"{line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
