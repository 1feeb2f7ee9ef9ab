"""How the backups are, as a board shows it: a document that `gymkhana schedule` leaves in the status directory.

    <GYM_STATUS_DIR>/backups.json   this, beside `backups.prom`, which holds the figures that alerts look at

Instants are seconds since the epoch, in UTC. The service knows no store and asks none: it shows what it was told, and when.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

NAME: Final = "backups.json"
VERIFIED: Final = 3
REHEARSED: Final = 5
"""Levels of the ladder of proofs from which on a backup counts as verified, and as rehearsed."""


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """One backup. `level` is the most thorough look that found it good, -1 when there was none."""

    id: str
    kind: str
    parent: str | None
    taken: float
    level: int
    state: str
    fault: str = ""
    pinned: bool = False
    size_bytes: int | None = None
    stored_bytes: int | None = None


class Span(msgspec.Struct, frozen=True):
    """Every instant between these can be restored to; one alone when they are the same."""

    begins: float
    ends: float
    backups: int


class Gap(msgspec.Struct, frozen=True):
    """What was committed in between cannot be restored to, and why. None of `until` is still going on."""

    after: float
    until: float | None
    why: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was known at `at`. The backups, the spans and the gaps are oldest first.

    `spans` is None where a timeline could not be told. `due` is when the next backup is, None when nobody plans any.
    """

    at: float
    stores: tuple[str, ...]
    away: tuple[str, ...]
    alarms: tuple[str, ...]
    backups: tuple[Backup, ...]
    spans: tuple[Span, ...] | None = None
    gaps: tuple[Gap, ...] = ()
    due: float | None = None
    why_due: str = ""

    def newest(self, level: int = -1) -> Backup | None:
        """The newest good backup that was proven that far."""
        good = (one for one in reversed(self.backups) if not one.fault and one.level >= level)
        return next(good, None)

    def chain(self) -> tuple[Backup, ...]:
        """What the newest good backup is restored from: the full one first, itself last."""
        known = {one.id: one for one in self.backups}
        found: list[Backup] = []
        one = self.newest()
        while one is not None and one not in found:
            found.append(one)
            one = known.get(one.parent) if one.parent else None
        return tuple(reversed(found))


class ReportUnreadable(Exception):
    """The file is there, and is no such document."""


def read(directory: Path) -> Report | None:
    """What was left there; None when nothing was. Raises ReportUnreadable."""
    try:
        return msgspec.json.decode((directory / NAME).read_bytes(), type=Report)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ReportUnreadable(f"{directory / NAME} cannot be read: {error}.") from error
