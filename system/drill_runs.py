"""What drills left: their runs' records and reports, read from the directory where `gymkhana drill run` keeps them.

    <GYM_RUNS_DIR>/<id>/run.json      verdict, recovery, loss, criteria
    <GYM_RUNS_DIR>/<id>/report.html   one file, readable without scripts

Only what a board shows is read of a record. The service runs no drills, and must not have to.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

_ID: Final = re.compile(r"\d{8}T\d{6}Z-[a-z0-9-]{1,80}")
"""Ids begin with the instant, so that their order is that of time."""


class Recovery(msgspec.Struct, frozen=True):
    """How long it took to come back; None when it did not, or when nothing had to."""

    total_s: float | None = None


class Loss(msgspec.Struct, frozen=True):
    """What was lost of what had been acknowledged."""

    acked: int
    lost: int
    seconds: float | None = None


class Criterion(msgspec.Struct, frozen=True):
    """One promise, and how it came out."""

    id: str
    result: str
    gates: bool = True


class Drilled(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a drill."""

    id: str
    drill: str
    verdict: str
    began: str
    duration_s: float
    seed: int
    command: str = ""
    rto: Recovery | None = None
    rpo: Loss | None = None
    criteria: tuple[Criterion, ...] = ()

    @property
    def broken(self) -> tuple[str, ...]:
        """The promises that were not kept, or not shown to be, of those that decide."""
        return tuple(one.id for one in self.criteria if one.gates and one.result != "pass")


def newest(directory: Path, most: int) -> tuple[Drilled, ...]:
    """The newest runs that were judged, newest first; one that cannot be read is left out."""
    found: list[Drilled] = []
    try:
        names = sorted((path.name for path in directory.iterdir() if _ID.fullmatch(path.name)), reverse=True)
    except OSError:
        return ()
    for name in names:
        if len(found) == most:
            break
        run = _record(directory / name / "run.json")
        found += [run] if run is not None and run.id == name else []
    return tuple(found)


def report(directory: Path, run_id: str) -> bytes | None:
    """The page of that run; None when there is none."""
    if not _ID.fullmatch(run_id):
        return None
    try:
        return (directory / run_id / "report.html").read_bytes()
    except OSError:
        return None


def _record(path: Path) -> Drilled | None:
    try:
        seen = path.stat()
        return _decoded(path, seen.st_mtime_ns, seen.st_size)
    except (OSError, msgspec.MsgspecError):
        return None


@lru_cache(maxsize=200)
def _decoded(path: Path, _mtime_ns: int, _size: int) -> Drilled:
    """A record does not change but by being judged again, and then its time does."""
    return msgspec.json.decode(path.read_bytes(), type=Drilled)
