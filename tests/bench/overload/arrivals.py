"""Open arrivals on a schedule made beforehand: nobody waits for an answer before the next one comes.

Raw sockets in one event loop, a connection for each request under way, kept for the next. A latency counts from when the
request was due, so whatever holds the generator up is charged to the service; `late_ms` says how much that was.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

ANSWER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request, as its bytes, and when it is due after the beginning."""

    due_s: float
    request: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """How a request ended: status 0 when it did not. Header names are in lower case."""

    due_s: float
    late_ms: float
    latency_ms: float
    status: int
    headers: dict[str, str]

    @property
    def good(self) -> bool:
        """Whether somebody was served, within a second."""
        return 200 <= self.status < 300 and self.latency_ms <= 1000

    @property
    def refused(self) -> bool:
        """Whether it was refused as the contract wants: when to come back, and that nothing was applied."""
        return (
            self.status in (429, 503)
            and self.headers.get("retry-after", "").isdigit()
            and self.headers.get("outcome") == "not-applied"
        )


def poisson(per_second: float, seconds: float, requests: Sequence[bytes], seed: str) -> list[Arrival]:
    """Arrivals at that rate for so long, each of a request drawn from those given."""
    dice = random.Random(seed)
    arrivals: list[Arrival] = []
    due_s = dice.expovariate(per_second)
    while due_s < seconds:
        number = f"{seed}.{len(arrivals)}".encode()
        arrivals.append(Arrival(due_s, dice.choice(requests).replace(b"<number>", number)))
        due_s += dice.expovariate(per_second)
    return arrivals


class Connections:
    """Connections to one service, made when none is free."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, request: bytes) -> tuple[int, dict[str, str]]:
        """Status and headers. Raises OSError or EOFError when there was no answer."""
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            lines = (line.partition(":") for line in head[1:] if line)
            headers = {name.lower(): value.strip() for name, _, value in lines}
            await reader.readexactly(int(headers["content-length"]))
        except BaseException:
            writer.transport.abort()
            raise
        self._free.append((reader, writer))
        return int(head[0].split()[1]), headers

    async def close(self) -> None:
        """No connection is left."""
        for _, writer in self._free:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in self._free), return_exceptions=True)
        self._free.clear()


async def play(connections: Connections, arrivals: Sequence[Arrival]) -> list[Answered]:
    """Every arrival, sent when it is due, and how it ended."""
    began = time.monotonic()
    under_way = []
    for arrival in arrivals:
        wait_s = began + arrival.due_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        under_way.append(asyncio.create_task(_one(connections, arrival, began)))
    return list(await asyncio.gather(*under_way))


async def _one(connections: Connections, arrival: Arrival, began: float) -> Answered:
    late_ms = (time.monotonic() - began - arrival.due_s) * 1000
    status, headers = 0, dict[str, str]()
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            status, headers = await connections.send(arrival.request)
    except (OSError, EOFError):  # A timeout is an OSError too.
        pass
    return Answered(arrival.due_s, late_ms, (time.monotonic() - began - arrival.due_s) * 1000, status, headers)


async def rush(connections: Connections, requests: Sequence[bytes], clients: int, seconds: float) -> float:
    """Requests per second that so many clients get served who ask again as soon as they are answered."""
    end_t, served = time.monotonic() + seconds, 0

    async def ask(client: int) -> None:
        nonlocal served
        asked = client
        while time.monotonic() < end_t:
            number = f"rush.{client}.{asked}.{time.monotonic_ns()}".encode()
            status, _ = await connections.send(requests[asked % len(requests)].replace(b"<number>", number))
            served += 200 <= status < 300
            asked += 1

    await asyncio.gather(*(ask(client) for client in range(clients)))
    return served / seconds
