"""Degraded modes: what the service does not do just now, why, and how it is told and found out.

    read-only         writes cannot be committed: the disk is full, the database is read-only or away, the writer is away
    <domain>-off      an operator put a file there (`<runtime>/off/<domain>`), or its jobs keep failing (`breaker.py`)

A file and no call: it needs no rights beyond the host's, holds for every process and over a restart, can be seen with `ls`,
and works when nothing else does. What stands in it is told as the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from system.breaker import Breakers
from system.errors import READ_ONLY, Unavailable
from system.metrics import DEGRADED, LANE_SHED

CAN_BE_OFF = ("users", "tournaments", "matches", "challenges", "notifications")
"""Not sessions: without them nobody could use the others."""

log = structlog.get_logger()


class Modes:
    """The degraded modes of one process."""

    def __init__(self, runtime: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._off = runtime / "off"
        self._clock = clock
        self._breakers = Breakers(CAN_BE_OFF)
        self._ordered: dict[str, str] = {}
        self._known: dict[str, str] = {}
        self.read_only = ""

    def look(self) -> None:
        """Looks which domains an operator has turned off, and tells of what has changed."""
        found = {}
        for domain in CAN_BE_OFF:
            try:
                said = (self._off / domain).read_text("utf-8", "replace").strip()
            except OSError:
                continue
            found[domain] = " ".join(said.split())[:200] or "An operator turned it off."
        self._ordered = found
        self._tell()

    def refuse_writes(self, reason: str) -> None:
        """From now on every write is refused with that sentence, until `take_writes`."""
        if not self.read_only:
            self.read_only = reason
            self._tell()

    def take_writes(self) -> None:
        """A write was committed."""
        if self.read_only:
            self.read_only = ""
            self._tell()

    def told(self) -> dict[str, str]:
        """Every mode the service is in, with its reason."""
        modes = {READ_ONLY: self.read_only} if self.read_only else {}
        modes |= {f"{domain}-off": "Its jobs keep failing." for domain in self._breakers.off()}
        return modes | {f"{domain}-off": reason for domain, reason in self._ordered.items()}

    def check(self, domain: str, *, writes: bool) -> None:
        """Raises Unavailable when the service does not do that now."""
        if reason := self._ordered.get(domain):
            raise self._refusal(domain, "domain-off", f"The service does without {domain} for now: {reason}")
        if not self._breakers.lets_in(domain, self._clock()):
            raise self._refusal(
                domain, "domain-off", f"The service does without {domain} for now: its jobs keep failing."
            )
        if writes and self.read_only:
            raise self._refusal(domain, READ_ONLY, f"Only reading is possible now: {self.read_only}")

    def ended(self, domain: str, *, failed: bool) -> None:
        """A job of the domain ended; `failed` is not said of a rule's refusal."""
        self._breakers.told(domain, failed, self._clock())
        if failed or self._known:
            self._tell()

    def _refusal(self, domain: str, code: str, message: str) -> Unavailable:
        LANE_SHED.labels("edge", domain, code).inc()
        return Unavailable(code, message)

    def _tell(self) -> None:
        told = self.told()
        for mode in self._known.keys() - told.keys():
            DEGRADED.labels(mode).set(0)
            log.info("degraded mode left", mode=mode)
        for mode in told.keys() - self._known.keys():
            DEGRADED.labels(mode).set(1)
            log.warning("degraded mode entered", mode=mode, reason=told[mode])
        self._known = told
