"""Faults inside the service's transactions, played through its failpoints.

What can only happen inside is done by the service itself, where the configuration allows it: an armed failpoint is a file
that says how often and until when, and each hit is a line that the service writes before it acts. That line is the proof.

    <failpoints>/<name>.json        put there to arm, removed to disarm; the service disregards it after `until`
    <failpoints>/<name>.hits.jsonl  one line per hit
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from chaos import durable
from chaos.errors import ChaosError, NothingToBreak, plainly
from chaos.fault import Healing, Injection, Missed, Proof, leased
from chaos.parameters import Rate, Seconds, Seed
from chaos.target import Target
from chaos.undo import RemoveFile

MARGIN_S = 1.0
"""The service disarms by itself when the time is up; the watchdog removes the file this much later."""

MaxHits = Annotated[int | None, Meta(description="How often it is hit at most; none for no limit.")]
Domains = Annotated[tuple[str, ...] | None, Meta(description="The domains it is hit in, with commas; none for all.")]


class _Hit(msgspec.Struct, frozen=True):
    t: float
    operation: str
    domain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failpoint:
    """A failpoint armed for a while: everything but its name."""

    name: ClassVar[str]

    rate: Rate = 0.1
    seconds: Seconds = 10.0
    max_hits: MaxHits = None
    domains: Domains = None
    seed: Seed = 0

    @property
    def leaves(self) -> str:
        return ""

    def plan(self, target: Target) -> tuple[str, ...]:
        return (f"Arm the failpoint {self.name} by the file {self._place(target)}, for {self.seconds:g} s.",)

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        place = self._place(target)
        undo = RemoveFile(str(place))
        return leased(target, self.name, undo, act=lambda _: self._arm(place), seconds=self.seconds + MARGIN_S)

    def _arm(self, place: Path) -> Injection:
        hits = place.with_name(f"{self.name}.hits.jsonl")
        with plainly(f"arming the failpoint {place}"):
            begin = hits.stat().st_size if hits.exists() else 0
            durable.write(place, self._armed())
        return Injection(lambda: _proof(self.name, hits, begin))

    def _place(self, target: Target) -> Path:
        if target.failpoints is None or not target.failpoints.is_dir():
            raise NothingToBreak(
                f"The service of {target.directory} has no failpoints; start it with GYM_FAILPOINTS=DIRECTORY."
            )
        place = target.failpoints / f"{self.name}.json"
        if place.exists():
            raise NothingToBreak(f"{place} is armed already; wait until it is over, or heal first.")
        return place

    def _armed(self) -> bytes:
        return msgspec.json.encode(
            {
                "name": self.name,
                "seed": self.seed,
                "rate": self.rate,
                "max_hits": self.max_hits,
                "domains": self.domains,
                "until": time.monotonic() + self.seconds,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KillConnections(_Failpoint):
    """The writer's database connection breaks in the middle of a transaction."""

    name: ClassVar[str] = "kill-connections"
    summary: ClassVar[str] = "The service's database connections are broken in the middle of transactions."
    healing: ClassVar[Healing] = "by undo"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailInTransaction(_Failpoint):
    """A job raises after its rows were written and before they are committed."""

    name: ClassVar[str] = "fail-in-transaction"
    summary: ClassVar[str] = "Jobs of the service raise after the flush and before the commit."
    healing: ClassVar[Healing] = "by undo"


def _proof(name: str, hits: Path, begin: int) -> Proof | Missed:
    """What the service says it hit since the file had `begin` bytes; a line being written does not count yet."""
    try:
        with hits.open("rb") as file:
            file.seek(begin)
            whole, _, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:
        whole = b""
    try:
        found = [msgspec.json.decode(line, type=_Hit) for line in whole.splitlines()]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ChaosError(f"{hits} holds a line that is not a hit: {error}.") from error
    if not found:
        return Missed(
            "the service has not hit the failpoint: no operation came by, or it was not started with failpoints"
        )
    details = {
        "hits": len(found),
        "domains": sorted({hit.domain for hit in found}),
        "operations": list(dict.fromkeys(hit.operation for hit in found))[:10],
    }
    return Proof(f"The service hit {name} {len(found)} times.", found[0].t, details)
