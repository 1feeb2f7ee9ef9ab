"""A proxy on the service's way to its database (`python -m chaos.proxy`): it passes everything on, until it is told not to.

    service ──▶ proxy ──▶ server         <directory>/rule.json     how it misbehaves, and until when; not there: not at all
                                         <directory>/hits.jsonl    one line each time it did, written before it acts

latency            every byte takes so much longer, each way
partition          not a byte passes, and nobody is told
cut-after-commit   a COMMIT is passed on, its answer is not: the connection is cut once the server has given it
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec

RULE: Final = "rule.json"
HITS: Final = "hits.jsonl"
LOOK_EVERY_S: Final = 0.02
_READ_BYTES: Final = 64 * 1024
_COMMIT: Final = b"COMMIT\0"
_READY: Final = b"Z\0\0\0\5I"
"""ReadyForQuery outside a transaction: the server's last word on a COMMIT (PostgreSQL's manual, "Message Formats")."""

Kind = Literal["latency", "partition", "cut-after-commit"]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """How to misbehave until that instant of the monotonic clock. `rate` is the share of COMMITs that are cut."""

    kind: Kind
    until: float
    ms: float = 0.0
    rate: float = 1.0
    seed: int = 0


class Hit(msgspec.Struct, frozen=True):
    """One misbehaviour: when, and of which kind."""

    t: float
    kind: Kind


@dataclass(slots=True)
class Proxy:
    """Listens on `port` and passes everything on to `to`. `directory` holds the rule and the hits."""

    directory: Path
    port: int
    to: tuple[str, int]
    _rule: Rule | None = None
    _dice: random.Random = field(default_factory=random.Random)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def run(self) -> None:
        """Passes on until cancelled."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        async with server:
            await asyncio.gather(server.serve_forever(), self._watch())

    async def _watch(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(LOOK_EVERY_S)

    def _look(self) -> None:
        try:
            rule = msgspec.json.decode((self.directory / RULE).read_bytes(), type=Rule)
        except (FileNotFoundError, msgspec.MsgspecError):
            rule = None
        if rule is not None and time.monotonic() > rule.until:
            rule = None
        if rule != self._rule:
            self._rule = rule
            self._dice = random.Random(rule.seed if rule else 0)
            if rule is not None and rule.kind != "cut-after-commit":
                self._hit(rule.kind)

    def _hit(self, kind: Kind) -> None:
        with (self.directory / HITS).open("ab", buffering=0) as hits:
            hits.write(msgspec.json.encode(Hit(time.monotonic(), kind)) + b"\n")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward_reader, onward_writer = await asyncio.open_connection(*self.to)
        except OSError:
            writer.close()
            return
        line = _Line(writer, onward_writer)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.wait(
                [
                    asyncio.create_task(self._pass(reader, onward_writer, line, asking=True)),
                    asyncio.create_task(self._pass(onward_reader, writer, line, asking=False)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        line.cut()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: _Line, *, asking: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_READ_BYTES):
                rule = self._rule
                while rule is not None and rule.kind == "partition":
                    await asyncio.sleep(LOOK_EVERY_S)
                    rule = self._rule
                if rule is not None and rule.kind == "latency":
                    await asyncio.sleep(rule.ms / 1000)
                if asking and rule is not None and rule.kind == "cut-after-commit" and _COMMIT in data:
                    line.doomed = self._dice.random() < rule.rate
                if not asking and line.doomed:
                    if _READY in data[-6:]:
                        self._hit("cut-after-commit")
                        return
                    continue
                writer.write(data)
                await writer.drain()


@dataclass(slots=True)
class _Line:
    """One connection through the proxy. A doomed one hears nothing more of its server."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    doomed: bool = False

    def cut(self) -> None:
        for end in (self.near, self.far):
            with contextlib.suppress(OSError):
                end.transport.abort()


def main(arguments: list[str] | None = None) -> int:
    """Runs until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m chaos.proxy", description="Passes on, until told not to.")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to-host", default="127.0.0.1")
    parser.add_argument("--to-port", type=int, required=True)
    options = parser.parse_args(arguments)
    options.directory.mkdir(parents=True, exist_ok=True)

    async def run() -> None:
        running = asyncio.create_task(Proxy(options.directory, options.port, (options.to_host, options.to_port)).run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
