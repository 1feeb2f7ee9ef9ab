"""Backups made when they are due, proven, brought level on every store and pruned, for as long as it is let."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from backups.addresses import stores_at
from backups.backup import run_backup
from backups.clock import SYSTEM, rfc3339
from backups.engine import Engine
from backups.errors import BackupError, StoreError, UsageError
from backups.keeping import catalogue as catalogues
from backups.keeping.prune import prune
from backups.keeping.retention import Policy
from backups.keeping.schedule import Due, due_by_cron, due_every, rehearsed_since
from backups.keys.keyring import Keyring
from backups.log.shipped import log_span
from backups.stores.mirrored import MirroredStore
from backups.stores.store import Store
from backups.vaults import vault_at
from backups.verify import verify
from ci.rehearsal import Rehearsal
from ci.status_directory import Timelines, tell_backups

PATIENCE_S: Final = (5.0, 30.0, 120.0, 600.0)
"""How long to wait after a failure, then after the next."""
MOST_S: Final = 30.0
"""The longest sleep: the clock may be set meanwhile, and others make backups too."""


@dataclass(frozen=True, slots=True)
class Scheduler:
    """What to back up where and when. Each thing that happens is a line of JSON on standard error.

    `when` is a cron expression in UTC or the time between two backups. `ship_socket` is where the log's agent may listen.
    """

    engine: Engine
    database: str
    stores: Sequence[str]
    keyring: Keyring
    when: str | timedelta
    ship_socket: Path
    verify_level: int = 3
    rehearse_every: timedelta | None = None
    prunes: bool = False
    demonstration: bool = False
    status_dir: Path | None = None
    """Where the service reads how the backups are."""
    timelines: Timelines = field(default_factory=Timelines)

    def run(self) -> None:
        """Never returns. Raises UsageError for what could not work even the first time; later failures are tried again."""
        tell("schedule begun", database=self.database, stores=self.stores, when=str(self.when))
        failures, worked = 0, False
        while True:
            try:
                pause_s = self.look()
                failures, worked = 0, True
            except BackupError as error:
                if isinstance(error, UsageError) and not worked:
                    raise
                pause_s = PATIENCE_S[min(failures, len(PATIENCE_S) - 1)]
                failures += 1
                tell("backup failed", error=str(error), again_in_s=pause_s)
            self.tell_status()
            time.sleep(min(max(pause_s, 0.05), MOST_S))

    def look(self) -> float:
        """A backup is made if one is due. Returns the seconds until the next one is."""
        due = self.due()
        if due.now:
            self.back_up(due.why)
            due = self.due()
        return (due.next - SYSTEM.now()).total_seconds()

    def tell_status(self) -> None:
        """Whoever watches the service is told how the backups are; when nobody knows, that it was told long ago tells."""
        if self.status_dir is None:
            return
        try:
            vault = vault_at(self.stores, self.keyring)
            tell_backups(self.status_dir, vault, due=self.due(), course=self.timelines.of(vault))
        except (BackupError, OSError) as error:
            tell("status not told", error=str(error))

    def due(self) -> Due:
        entries = catalogues.read(stores_at(self.stores, make=True)).entries
        if isinstance(self.when, timedelta):
            return due_every(entries, self.when, SYSTEM.now())
        return due_by_cron(entries, self.when, SYSTEM.now())

    def back_up(self, why: str) -> None:
        place = stores_at(self.stores, make=True)
        made = run_backup(
            self.engine,
            self.database,
            place,
            keyring=self.keyring,
            log=log_span(self.ship_socket),
            demonstration=self.demonstration,
        )
        tell("backup made", id=made.id, kind=made.kind, why=why, seconds=round(made.seconds, 3), trouble=place.trouble)
        look = verify(place, made.id, level=self.verify_level, keyring=self.keyring)
        tell("backup verified", id=made.id, level=look.level, ok=look.ok, findings=look.findings)
        if self.rehearse_every and not rehearsed_since(
            catalogues.read(place).entries, self.rehearse_every, SYSTEM.now()
        ):
            look = verify(place, made.id, level=5, keyring=self.keyring, boot=Rehearsal())
            tell(
                "backup rehearsed", id=made.id, level=look.level, ok=look.ok, findings=look.findings, unseen=look.unseen
            )
        self.level(place)
        if self.prunes:
            pruned = prune(place, Policy())
            log = [str(cut) for cut in pruned.log.deleted]
            tell("pruned", marked=pruned.marked, deleted=pruned.deleted, log_deleted=log)

    def level(self, place: Store) -> None:
        """What a store missed while it was away is copied into it, now that it answers."""
        if not isinstance(place, MirroredStore) or place.trouble:
            return
        try:
            if copied := place.level():
                tell("stores level", copied=len(copied))
        except StoreError as error:
            tell("stores not level", error=str(error))


def tell(event: str, **facts: Any) -> None:
    """One line on standard error."""
    line = {"event": event, "process": "schedule", "timestamp": rfc3339(SYSTEM.now()), **facts}
    sys.stderr.write(msgspec.json.encode(line).decode() + "\n")
    sys.stderr.flush()
