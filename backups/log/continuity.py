"""Does what lies in the log now follow on what was shipped? Pure: two positions in, the next frame or a reason out.

    round 7:  1 2 3 … 90 | 91 92      shipped up to 90: goes on with 91
    round 8:  1 2 3                   shipped all 90 of round 7, seen by us: goes on with 1

A round ends when all of it is in the main file and somebody writes: the log is then overwritten from its start. That the
new round is the next one is not enough, since frames may have been added, copied to the main file and overwritten between
two looks. The index counts commits through all rounds, so the count tells: as many commits since as there are in the new
round. The count is only good within one life of the index, hence only for whoever has had it open all along.
"""

from __future__ import annotations

from dataclasses import dataclass

from backups.sqlite.wal import Checksum, Salts, ShmHeader


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the log: after `frame` of the round `salts`, which has that `checksum`; 0 is the start of the round.

    `change` is the count of commits there, None when it was counted in another life of the index.
    """

    salts: Salts
    frame: int
    checksum: Checksum
    change: int | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """What is in the log does not follow, or cannot be shown to; `why` is one sentence."""

    why: str


def of(index: ShmHeader) -> Position:
    """The end of what is committed."""
    return Position(index.salts, index.mx_frame, index.frame_checksum, index.change)


def follows(shipped: Position, index: ShmHeader, checksum: Checksum | None, commits: int | None) -> int | Broken:
    """The first frame that was not shipped yet, or why the log does not go on from there.

    `checksum` is that of the frame numbered `shipped.frame` in the log as it is now, None when there is no such frame.
    `commits` is how many commits the round holds so far, None when they were not counted.
    """
    if index.salts == shipped.salts:
        return _same_round(shipped, index, checksum)
    if shipped.change is None:
        return Broken("The log was begun anew while nobody watched it.")
    if index.salts[0] != (shipped.salts[0] + 1) & 0xFFFFFFFF:
        return Broken("The log was begun anew by somebody else: its salts are not those of the next round.")
    if commits is None or (index.change - shipped.change) & 0xFFFFFFFF != commits:
        return Broken("Commits were checkpointed and overwritten before they were shipped.")
    return 1


def _same_round(shipped: Position, index: ShmHeader, checksum: Checksum | None) -> int | Broken:
    if index.mx_frame < shipped.frame:
        return Broken("The log is shorter than what was shipped of it.")
    if shipped.frame and checksum != shipped.checksum:
        return Broken("The log holds other frames than were shipped.")
    return shipped.frame + 1
