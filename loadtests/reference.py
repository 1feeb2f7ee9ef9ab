"""The reference server: answers every route of a scenario after a latency of a known law, and nothing else.

    python -m loadtests.reference --scenario FILE --population FILE --seed N [--port N]

It prints its port and serves until it is killed. It knows no gym: a body holds just what the scenario's flows learn from
answers, with fresh ids. One more route, `/still`, always takes 20 ms: whoever asks there sees what the machine adds.

A thread per connection, blocking: an event loop's timers are a millisecond coarse, and a sleeping thread wakes within a
tenth of that.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

import msgspec

from loadtests import population, scenario_file, template
from loadtests.law import laws, route
from loadtests.scenario import Flow, Learn, Scenario

HOST = "127.0.0.1"
BACKLOG = 1024
STACK_BYTES = 256 * 1024
DATABASE_SHARE = 0.5
"""The share of its latency that the server says was the database's."""

STILL = "/still"
STILL_MS = 20.0


@dataclass(frozen=True, slots=True)
class _Route:
    """A flow's route: what its targets look like, and the latencies still to come."""

    flow: Flow
    target: re.Pattern[str]
    waits_ms: Iterator[float]


class ReferenceServer:
    """Serves `scenario` on `port` (0: any free one). Players are known by their tokens."""

    def __init__(self, scenario: Scenario, seed: int, players: Mapping[str, int], port: int = 0) -> None:
        known = laws(scenario, seed)
        routes = {route(flow): flow for flow in reversed(scenario.flows)}.values()
        # A route without holes is the more special one: `/users/me` is no `/users/{other}`.
        self._routes = [
            _Route(flow, _pattern(flow.path), known[flow.name].draws_ms())
            for flow in sorted(routes, key=lambda flow: flow.path.count("{"))
        ]
        self._players = players
        self._ids = count(1)
        self._commits = count(1)
        self._lock = threading.Lock()
        self._socket = socket.create_server((HOST, port), backlog=BACKLOG)
        self.port: int = self._socket.getsockname()[1]

    def serve(self) -> None:
        """Takes connections until the process ends."""
        threading.stack_size(STACK_BYTES)
        while True:
            connection, _ = self._socket.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        """One connection, request after request, until the client closes it."""
        with connection, connection.makefile("rb") as file, contextlib.suppress(ConnectionError):
            while (request := _read(file)) is not None:
                began = time.monotonic()
                wait_ms, answer = self._answer(*request)
                time.sleep(max(0.0, began + wait_ms / 1000 - time.monotonic()))
                connection.sendall(answer)

    def _answer(self, method: str, target: str, headers: Mapping[str, str]) -> tuple[float, bytes]:
        """Latency and bytes of a response."""
        if target == STILL:
            return STILL_MS, _response(200, b"{}", [])
        with self._lock:
            found = next(
                (one for one in self._routes if one.flow.method == method and one.target.fullmatch(target)), None
            )
            if found is None:
                return 0.0, _response(404, b'{"code":"not-found"}', [])
            flow, wait_ms = found.flow, next(found.waits_ms)
            me = self._players.get(headers.get("authorization", "").removeprefix("Bearer "), 0)
            body = {rule.at: [self._item(rule, me)] for rule in flow.learns}
            extra = [f"Server-Timing: db;dur={wait_ms * DATABASE_SHARE:.3f}"]
            if operation := headers.get("operation-id"):
                digest = hashlib.blake2b(operation.encode(), digest_size=16).hexdigest()
                extra += [f"Commit-Sequence: {next(self._commits)}", f"Effect-Digest: {digest}"]
        return wait_ms, _response(flow.expect[0], msgspec.json.encode(body), extra)

    def _item(self, rule: Learn, me: int) -> dict[str, object]:
        """A list's item from which the rule learns an id."""
        told = {field: me if wanted == "{me}" else wanted for field, wanted in rule.where.items()}
        return {**told, rule.id: next(self._ids)}


def _pattern(path: str) -> re.Pattern[str]:
    """What the targets of a templated path look like."""
    parts = template.parse(path).parts
    return re.compile("".join(re.escape(part) if isinstance(part, str) else "[^/?&]+" for part in parts))


def _read(file: BinaryIO) -> tuple[str, str, dict[str, str]] | None:
    """Method, target and headers of the next request, its body read; None at the end."""
    first = file.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers: dict[str, str] = {}
    while line := file.readline().decode("latin-1").rstrip("\r\n"):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    file.read(int(headers.get("content-length", "0")))
    return first[0], first[1], headers


def _response(status: int, body: bytes, extra: list[str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(body)}", *extra]
    return "\r\n".join([*lines, "", ""]).encode() + body


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.reference")
    parser.add_argument("--scenario", type=Path, required=True)
    parser.add_argument("--population", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--port", type=int, default=0)
    asked = parser.parse_args()
    players = {player.token: player.id for player in population.read(asked.population).users}
    server = ReferenceServer(scenario_file.read(asked.scenario), asked.seed, players, asked.port)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve()


if __name__ == "__main__":
    main()
