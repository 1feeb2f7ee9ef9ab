"""What is to be run, and when, whoever runs it: the commands of a backup, and those of the alarm that it is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Final
from urllib.parse import urlsplit

from cronsim import CronSim

from backups.errors import UsageError
from backups.keeping.schedule import checked_cron

ALARM_CRON: Final = "17 * * * *"
SLACK: Final = timedelta(hours=2)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")  # RFC 1123, and short enough for what Kubernetes appends
_SECRET = re.compile(r"(secret|password|passphrase|token|credential|key_id|access_key)", re.IGNORECASE)
_FIRINGS: Final = 800

Files = Mapping[str, str]
"""Names and contents."""


class UnitRefused(UsageError):
    """The unit would not do what was asked; nothing was printed or written."""


@dataclass(frozen=True, slots=True)
class Job:
    """A backup at the times of `cron`, in UTC, by the program `gymkhana` at that path."""

    name: str
    program: str
    database: str
    stores: tuple[str, ...]
    recipients: tuple[str, ...] = ()
    host_secret: str = "/var/lib/gymkhana/host.secret"  # noqa: S105 - where it lies
    cron: str = "0 2 * * *"
    verify_level: int = 3
    rehearse_every: str | None = None
    prunes: bool = False
    demonstration: bool = False

    def __post_init__(self) -> None:
        portable_cron(self.cron)
        if not _NAME.fullmatch(self.name):
            raise UnitRefused(
                f"{self.name!r} is no name of a unit: use a-z, 0-9 and -, 42 characters at most (RFC 1123)."
            )
        for address in (*self.stores, self.database):
            parts = urlsplit(address)
            if parts.password is not None or _SECRET.search(parts.query):
                raise UnitRefused(
                    f"An address ({parts.scheme}://{parts.hostname}) holds a secret, and everybody reads units; it belongs "
                    "into the environment file."
                )

    def backup(self) -> tuple[tuple[str, ...], ...]:
        """The commands of one run, each only after the one before went well."""
        sealing = tuple(word for one in self.recipients for word in ("--recipient", one))
        secret = ("--host-secret", self.host_secret) if self.recipients else ()
        demo = ("--demo",) if self.demonstration else ()
        made = ("run", "--database", self.database, *self.at(), *sealing, *secret, *demo, "--if-due", self.cron)
        steps = [made, ("verify", *self.at(), *secret, "--level", str(self.verify_level))]
        if self.rehearse_every:
            steps.append(("rehearse", *self.at(), *secret, "--if-older", self.rehearse_every))
        if len(self.stores) > 1:
            steps.append(("resync", *self.at()))
        if self.prunes:
            steps.append(("prune", *self.at()))
        return tuple((self.program, "backup", *step) for step in steps)

    def alarm(self) -> tuple[str, ...]:
        """What fails when a backup is missing, was not verified, or not rehearsed; asked every hour."""
        gap = longest_gap(self.cron)
        limits = ["--max-age", _duration(gap + SLACK), "--max-unverified", _duration(2 * gap)]
        if self.rehearse_every:
            from backups.keeping.schedule import duration

            limits += ["--max-unrehearsed", _duration(duration(self.rehearse_every) + gap)]
        return (self.program, "backup", "status", *self.at(), *limits)

    def at(self) -> tuple[str, ...]:
        """How a command is told the stores."""
        return tuple(word for store in self.stores for word in ("--store", store))


def portable_cron(expression: str) -> CronSim:
    """The expression, taken apart. Raises UsageError for what is none, or what not every scheduler understands."""
    checked_cron(expression)
    fields = expression.upper().split()
    if len(fields) != 5:
        raise UnitRefused(f"{expression!r} has seconds, and schedulers count minutes: write five fields.")
    if "#" in expression or "L" in fields[2] or re.search(r"\dL", fields[4]):
        raise UnitRefused(
            f"{expression!r} says L or #, which cron and Kubernetes do not know; `gymkhana schedule` does, or write it "
            "without."
        )
    return CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC))


def longest_gap(expression: str) -> timedelta:
    """The longest time between two runs."""
    times = islice(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)), _FIRINGS)
    return max(later - earlier for earlier, later in pairwise(times))


def _duration(length: timedelta) -> str:
    """`26h`, rounded up."""
    return f"{-(-int(length.total_seconds()) // 3600)}h"
