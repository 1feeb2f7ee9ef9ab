"""Clients that never think (`python -m tests.bench.service.clients`): so many connections, each asking again at once.

Each connection plays one virtual user of the scenario after another. The process says `began` when it starts to count, so
that whoever started it can read clocks at the same moment, and at the end what it counted, as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from loadtests import population, scenario_file
from loadtests.ledger import outcome
from loadtests.percentiles import percentile
from loadtests.scenario import GYM_DAY, Scenario
from loadtests.schedule import UserSteps, user_steps
from loadtests.virtual_user import Script, Step, VirtualUser

STEPS = 30
"""A virtual user leaves after so many, as after a minute with pauses, and the connection plays the next one."""
PLANNED = 256
"""So many plans are made; users of higher numbers play them again with other players."""
TIMEOUT_S = 30.0
WRITES = ("edit-profile", "score", "challenge")
"""The flows of the mix that only writes: none of them needs to have learnt anything."""
_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@cache
def _planned(script: Script) -> tuple[UserSteps, ...]:
    password = script.population.password is not None
    return tuple(user_steps(script.scenario, script.seed, PLANNED, STEPS * script.scenario.think.mean_s, password))


def visitor(number: int, script: Script) -> VirtualUser:
    """The virtual user of that number, with a plan of at least `STEPS` steps; `think` chooses each of them."""
    return VirtualUser(number, script, _planned(script)[(number - 1) % PLANNED].steps)


class Counted(msgspec.Struct, frozen=True):
    """What the clients saw while they counted. `unexpected` has `flow status` of each answer that was none of the flow's."""

    requests: int
    seconds: float
    p50_ms: float
    p95_ms: float
    flows: dict[str, int]
    unexpected: dict[str, int]


class Cut(Exception):
    """The connection ended before the answer did, or the answer came in a form that is not understood."""


@dataclass(slots=True)
class Tally:
    """Counts answers while `counting`."""

    counting: bool = False
    latencies: list[float] = field(default_factory=list)
    flows: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)

    def add(self, step: Step, status: int, latency_s: float) -> None:
        """One answer; status 0 when there was none."""
        if status not in step.flow.expect:  # also before the counting: an error is one whenever it comes
            self.unexpected[f"{step.flow.name} {status}"] += 1
        if self.counting:
            self.latencies.append(latency_s)
            self.flows[step.flow.name] += 1


class Connection(asyncio.Protocol):
    """A kept connection that carries one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to ask."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes

    def connection_lost(self, _exc: Exception | None) -> None:
        """Whoever waits is told."""
        self._transport = None
        self._fail("The connection was closed.")

    def data_received(self, data: bytes) -> None:
        """The answer is handed over once it is whole."""
        self._buffer += data
        head = self._buffer.find(_END)
        if head < 0:
            return
        lower = self._buffer[:head].lower()
        at = lower.find(_LENGTH)
        if at < 0:
            self._fail("The answer does not tell its length.")
            return
        line = lower[at + len(_LENGTH) :].split(b"\r\n", 1)[0]
        end = head + len(_END) + int(line)
        if len(self._buffer) >= end and self._answer is not None and not self._answer.done():
            body, self._buffer = self._buffer[head + len(_END) : end], self._buffer[end:]
            self._answer.set_result((int(lower[9:12]), body))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body. Raises Cut, and TimeoutError."""
        if self._transport is None:
            raise Cut("The connection is closed.")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        async with asyncio.timeout(TIMEOUT_S):
            return await self._answer

    def close(self) -> None:
        """Nothing is asked any more."""
        if self._transport is not None:
            self._transport.close()

    def _fail(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Cut(why))


def request(step: Step, token: str, run: str, host: str) -> bytes:
    """The step as it goes over the wire."""
    lines = [f"{step.flow.method} {step.path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}"]
    if step.op is not None:
        lines += [f"Operation-Id: {step.op}", f"Run-Id: {run}", "Content-Type: application/json"]
        lines.append(f"Content-Length: {len(step.body)}")
    return "\r\n".join(lines).encode() + _END + step.body


async def play(
    host: str, port: int, script: Script, connections: int, seconds: float, warm_s: float, tally: Tally
) -> float:
    """The load has been played; how many seconds of it were counted."""
    numbers = count(1)
    ended = asyncio.Event()

    async def client() -> None:
        loop = asyncio.get_running_loop()
        connection: Connection | None = None
        while not ended.is_set():
            user = visitor(next(numbers), script)
            for _ in range(STEPS):
                if ended.is_set():
                    break
                user.think()  # chooses the step; nobody pauses here
                step = user.next_step()
                raw = request(step, user.player.token, script.run, f"{host}:{port}")
                began = time.perf_counter()
                try:
                    if connection is None:
                        _, connection = await loop.create_connection(Connection, host, port)
                    status, body = await connection.ask(raw)
                except (OSError, Cut, TimeoutError):
                    if connection is not None:
                        connection.close()
                    status, body, connection = 0, b"", None
                    await asyncio.sleep(0.05)
                tally.add(step, status, time.perf_counter() - began)
                user.learn(step, outcome(status, {}), status, body)
        if connection is not None:
            connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(client())
        await asyncio.sleep(warm_s)
        print("began", flush=True)
        tally.counting, began = True, time.perf_counter()
        await asyncio.sleep(seconds)
        tally.counting = False
        took = time.perf_counter() - began
        print("ended", flush=True)
        ended.set()
    await asyncio.sleep(0)  # the loop closes what was told to close
    return took


def counted(tally: Tally, seconds: float) -> Counted:
    """What a tally comes to."""
    ordered = sorted(tally.latencies)
    p50, p95 = (1000 * percentile(ordered, percent) if ordered else 0.0 for percent in (50, 95))
    return Counted(len(ordered), seconds, p50, p95, dict(tally.flows), dict(tally.unexpected))


def only(scenario: Scenario, names: Sequence[str]) -> Scenario:
    """The scenario with these flows and no other; what one of them plays `otherwise` must be among them."""
    flows = tuple(
        msgspec.structs.replace(flow, otherwise=names[0] if flow.takes else None)
        for flow in scenario.flows
        if flow.name in names
    )
    return msgspec.structs.replace(scenario, flows=flows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays, and tells."""
    parser = argparse.ArgumentParser(description="Keep a service busy and count its answers.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--population", type=Path, required=True)
    parser.add_argument("--run", required=True, help="operation ids begin with it")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm-seconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--writes", action="store_true", help="nothing but writes")
    given = parser.parse_args(arguments)
    scenario = scenario_file.read(GYM_DAY)
    people = population.read(given.population)
    script = Script(
        only(scenario, WRITES) if given.writes else scenario,
        people,
        seed=given.seed,
        run=given.run,
        users=len(people.users),
    )
    tally = Tally()
    seconds = uvloop.run(
        play(given.host, given.port, script, given.connections, given.seconds, given.warm_seconds, tally)
    )
    print(msgspec.json.encode(counted(tally, seconds)).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
