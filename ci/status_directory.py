"""What the service is told through its status directory, which it reads and never asks for: backups, and drills.

backups.prom   how the backups are, as `gymkhana backup status --prometheus` prints it
backups.json   the same for the board: each backup, what can be restored to, the stores, and when the next one is due
drills.json    how each drill went the last time; one that failed stays failed until that one passes
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from backups.clock import SYSTEM
from backups.disk import write_durably
from backups.keeping import status as statuses
from backups.keeping.schedule import Due
from backups.log import timeline
from backups.log.timeline import Timeline
from backups.vault import Kept, Vault
from backups.vaults import StoreVault
from ci.record import Run
from system import backup_report
from system.backup_report import Backup, Gap, Report, Span
from system.status_files import BACKUPS, DRILLS, Drilled

VARIABLE = "GYM_STATUS_DIR"
TIMELINE_S: Final = 120.0


def named() -> Path | None:
    """The directory that the environment names, if it does."""
    found = os.environ.get(VARIABLE)
    return Path(found) if found else None


class Timelines:
    """What a vault can be restored to, asked now and then: that reads the head of every segment of its log."""

    def __init__(self, every_s: float = TIMELINE_S) -> None:
        self._every_s = every_s
        self._asked_s = float("-inf")
        self._known: Timeline | None = None

    def of(self, vault: Vault) -> Timeline | None:
        """The timeline as of a few minutes ago at most; None for a vault that has none. Raises StoreError."""
        if isinstance(vault, StoreVault) and time.monotonic() - self._asked_s >= self._every_s:
            self._known = timeline.read(vault.store, vault.keyring)
            self._asked_s = time.monotonic()
        return self._known


def tell_backups(
    directory: Path,
    vault: Vault,
    limits: statuses.Limits = statuses.Limits(),  # noqa: B008
    *,
    due: Due | None = None,
    course: Timeline | None = None,
) -> None:
    """The files say how the vault is now. Raises StoreError when that cannot be asked, and the files are as they were."""
    kept = vault.kept()
    found = statuses.status(kept, SYSTEM.now(), limits, vault.trouble)
    directory.mkdir(parents=True, exist_ok=True)
    write_durably(directory / BACKUPS, statuses.prometheus(found, records=vault.keeps_records).encode())
    told = report(kept, found, stores=_stores(vault), away=vault.trouble, due=due, course=course)
    write_durably(directory / backup_report.NAME, msgspec.json.format(msgspec.json.encode(told)))


def report(
    kept: Sequence[Kept],
    found: statuses.Status,
    *,
    stores: Sequence[str],
    away: Sequence[str] = (),
    due: Due | None = None,
    course: Timeline | None = None,
) -> Report:
    """The document for the board. Pure."""
    return Report(
        at=found.at.timestamp(),
        stores=tuple(stores),
        away=tuple(away),
        alarms=tuple(alarm.sentence for alarm in found.alarms),
        backups=tuple(
            Backup(
                id=one.id,
                kind=one.kind,
                parent=one.parent,
                taken=one.taken.timestamp(),
                level=one.level,
                state=one.state,
                fault=one.fault,
                pinned=one.pinned,
                size_bytes=one.size_bytes,
                stored_bytes=one.stored_bytes,
            )
            for one in kept
            if not one.expired
        ),
        spans=None
        if course is None
        else tuple(Span(one.begins.timestamp(), one.ends.timestamp(), len(one.backups)) for one in course.spans),
        gaps=()
        if course is None
        else tuple(
            Gap(one.after.timestamp(), one.until.timestamp() if one.until else None, one.why) for one in course.gaps
        ),
        due=due.next.timestamp() if due else None,
        why_due=due.why if due else "",
    )


def _stores(vault: Vault) -> tuple[str, ...]:
    return tuple(one.address for one in vault.store.copies) if isinstance(vault, StoreVault) else (vault.address,)


def tell_drills(directory: Path, runs: Iterable[Run]) -> None:
    """The file says how these went; of the drills that were not among them, what it said before."""
    path = directory / DRILLS
    try:
        known = msgspec.json.decode(path.read_bytes(), type=dict[str, Drilled])
    except (FileNotFoundError, msgspec.MsgspecError):
        known = {}
    now = SYSTEM.now().timestamp()
    known |= {run.drill: Drilled(run.verdict, now, run.id) for run in runs}
    directory.mkdir(parents=True, exist_ok=True)
    write_durably(path, msgspec.json.format(msgspec.json.encode(known)))
