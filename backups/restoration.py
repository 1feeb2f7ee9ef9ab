"""What a restore gives back: which backup, what it cost, and how long each phase took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from backups.clock import Clock
from backups.log.replay import Replayed
from backups.plan import Cost, Refused, RestorePlan


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a restore in monotonic seconds, and for which backup.

    decide, open, build, replay, check, fence, swap, reopen; in place: fence, decide, open, compare, fetch, keep,
    swap, check, reopen.
    """

    name: str
    begin_t: float
    end_t: float
    backup: str | None


@dataclass(frozen=True, slots=True)
class LogReplayed:
    """What a server's recovery did: out of how many segments, to which position and timeline, with which last commit.

    `reaches` is RFC 3339, empty when no commit was replayed.
    """

    segments: int
    lsn: str
    timeline: int
    reaches: str


@dataclass(frozen=True, slots=True)
class Restoration:
    """A restore that succeeded. `evidence` is the directory that keeps the old files, None when there were none.

    `fetched_bytes` is what came out of the store. `in_place` tells a repair from an exchange, and `why_whole` why a repair
    that was asked for became an exchange.
    """

    backup: str
    taken: str
    database: Path
    rows: int | None
    size_bytes: int
    position: int | None
    cost: Cost
    refused: tuple[Refused, ...]
    phases: tuple[Phase, ...]
    evidence: Path | None
    fetched_bytes: int = 0
    in_place: bool = False
    why_whole: str = ""
    replayed: Replayed | LogReplayed | None = None
    log_cost: str = ""
    """What of the shipped log could not be reached, as a sentence; empty when all of it was."""

    @property
    def seconds(self) -> float:
        """From the first phase's beginning to the last one's end."""
        return self.phases[-1].end_t - self.phases[0].begin_t


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Collects phases: `with timed("build", backup):` adds one, also when the block fails."""

    clock: Clock
    phases: list[Phase] = field(default_factory=list)

    @contextmanager
    def __call__(self, name: str, backup: str | None = None) -> Iterator[None]:
        begin_t = self.clock.monotonic()
        try:
            yield
        finally:
            self.phases.append(Phase(name, begin_t, self.clock.monotonic(), backup))


def as_json(result: Restoration | RestorePlan) -> dict[str, Any]:
    """The result as plain JSON values, paths as text: what `restore.json` holds."""
    plain: dict[str, Any] = msgspec.to_builtins(result, enc_hook=str)
    return plain
