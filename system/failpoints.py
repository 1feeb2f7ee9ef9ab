"""Named, seeded places where the service can be told to fail, so that what only happens inside can be rehearsed.

They exist only when `GYM_FAILPOINTS` names a directory. One is armed by a file there, disarmed by removing the file or by
its own expiry, and writes one line of proof before it acts:

    <directory>/<name>.json        {"name", "seed", "rate", "max_hits", "domains", "until", "ms"}
    <directory>/<name>.hits.jsonl  {"t", "name", "operation", "domain"}   one line per hit
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import msgspec

FAIL_IN_TRANSACTION = "fail-in-transaction"
KILL_CONNECTIONS = "kill-connections"
SLOW_SERVICE = "slow-service"


class Armed(msgspec.Struct, frozen=True):
    """How one failpoint behaves while its file is there. `until` is on the monotonic clock, in seconds.

    `ms` is how long it lasts, for one that is no failure but a delay.
    """

    name: str
    seed: int
    rate: float
    until: float
    max_hits: int | None = None
    domains: tuple[str, ...] | None = None
    ms: float = 0.0


class Injected(Exception):
    """The failure a failpoint causes. Never a ServiceError: the service must survive what it does not know."""


class Failpoints:
    """The failpoints of one process. Without a directory nothing is ever looked for."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._known: dict[str, tuple[int, Armed, random.Random, int]] = {}
        self._paths: dict[str, str] = {}

    def hit(self, name: str, operation: str, domain: str) -> bool:
        """True when `name` is armed and its dice say now. The proof is on disk before this returns."""
        if self._directory is None:
            return False
        known = self._armed(name)
        if known is None or time.monotonic() >= known[0].until:
            return False
        armed, dice, hits = known
        if armed.domains is not None and domain not in armed.domains:
            return False
        if (armed.max_hits is not None and hits >= armed.max_hits) or dice.random() >= armed.rate:
            return False
        self._prove(name, operation, domain)
        version, _, _, _ = self._known[name]
        self._known[name] = (version, armed, dice, hits + 1)
        return True

    def milliseconds(self, name: str) -> float:
        """How long the failpoint that was hit just now lasts."""
        known = self._armed(name)
        return 0.0 if known is None else known[0].ms

    def _armed(self, name: str) -> tuple[Armed, random.Random, int] | None:
        try:  # Asked at every request of every drill: the path is built once, and nothing else where nothing is armed.
            version = os.stat(self._paths[name]).st_mtime_ns  # noqa: PTH116
        except KeyError:
            self._paths[name] = str(self._path(f"{name}.json"))
            return self._armed(name)
        except FileNotFoundError:
            self._known.pop(name, None)
            return None
        known = self._known.get(name)
        if known is None or known[0] != version:
            armed = msgspec.json.decode(self._path(f"{name}.json").read_bytes(), type=Armed)
            known = (version, armed, random.Random(f"{armed.seed}-{name}"), 0)
            self._known[name] = known
        return known[1:]

    def _prove(self, name: str, operation: str, domain: str) -> None:
        line = msgspec.json.encode({"t": time.monotonic(), "name": name, "operation": operation, "domain": domain})
        file = os.open(self._path(f"{name}.hits.jsonl"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(file, line + b"\n")
        finally:
            os.close(file)

    def _path(self, name: str) -> Path:
        assert self._directory is not None
        return self._directory / name
