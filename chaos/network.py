"""Faults between the service and its database server, played by the proxy that stands there (`proxy.py`)."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, cast

import msgspec
from msgspec import Meta

from chaos import durable
from chaos.errors import NothingToBreak, plainly
from chaos.fault import Healing, Injection, Missed, Proof, leased
from chaos.parameters import Rate, Seconds, Seed
from chaos.proxy import HITS, RULE, Hit, Kind, Rule
from chaos.target import Target
from chaos.undo import RemoveFile

MARGIN_S = 1.0
"""The proxy forgets a rule by itself when its time is up; the watchdog removes the file this much later."""

Milliseconds = Annotated[float, Meta(gt=0, le=60_000, description="How much longer each way takes.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Misbehaviour:
    """The proxy misbehaves for a while: everything but how."""

    name: ClassVar[str]

    seconds: Seconds = 10.0

    @property
    def leaves(self) -> str:
        return ""

    def rule(self, until: float) -> Rule:
        """What the proxy is told."""
        return Rule(kind=cast(Kind, self.name), until=until)

    def plan(self, target: Target) -> tuple[str, ...]:
        return (f"Have the proxy of {_place(target)} play {self.name}, for {self.seconds:g} s.",)

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        place = _place(target)
        undo = RemoveFile(str(place / RULE))
        return leased(target, self.name, undo, act=lambda _: self._tell(place), seconds=self.seconds + MARGIN_S)

    def _tell(self, place: Path) -> Injection:
        hits = place / HITS
        with plainly(f"telling the proxy of {place}"):
            begin = hits.stat().st_size if hits.exists() else 0
            durable.write(place / RULE, msgspec.json.encode(self.rule(time.monotonic() + self.seconds)))
        return Injection(lambda: _proof(self.name, hits, begin))


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(_Misbehaviour):
    """The database is far away."""

    name: ClassVar[str] = "latency"
    summary: ClassVar[str] = "Everything between the service and its database takes longer, each way."
    healing: ClassVar[Healing] = "by undo"

    ms: Milliseconds = 50.0

    def rule(self, until: float) -> Rule:
        return Rule(kind=cast(Kind, self.name), until=until, ms=self.ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition(_Misbehaviour):
    """The network swallows everything: connections stay open and nothing comes."""

    name: ClassVar[str] = "partition"
    summary: ClassVar[str] = "Not a byte passes between the service and its database, and neither is told."
    healing: ClassVar[Healing] = "by undo"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutAfterCommit(_Misbehaviour):
    """The worst moment: it is committed, and who asked for it will never be told."""

    name: ClassVar[str] = "cut-after-commit"
    summary: ClassVar[str] = "The server commits, its answer is dropped and the connection cut: the outcome is unknown."
    healing: ClassVar[Healing] = "by undo"

    rate: Rate = 0.1
    seed: Seed = 0

    def rule(self, until: float) -> Rule:
        return Rule(kind=cast(Kind, self.name), until=until, rate=self.rate, seed=self.seed)


def _place(target: Target) -> Path:
    place = target.directory / "proxy"
    if not place.is_dir():
        raise NothingToBreak(f"No proxy stands between the service of {target.directory} and its database.")
    if (place / RULE).exists():
        raise NothingToBreak(f"{place / RULE} is played already; wait until it is over, or heal first.")
    return place


def _proof(name: str, hits: Path, begin: int) -> Proof | Missed:
    """From the proxy's own lines since `begin`."""
    content = b""
    if hits.exists():
        with hits.open("rb") as file:
            file.seek(begin)
            content = file.read()
    found = [msgspec.json.decode(line, type=Hit) for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
    ours = [hit for hit in found if hit.kind == name]
    if not ours:
        return Missed("nothing passed the proxy that it could have been played on")
    return Proof(f"The proxy played {name} {len(ours)} times.", ours[0].t, {"hits": len(ours)})
