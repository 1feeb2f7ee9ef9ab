"""The drills, as data: what is broken, how often it is backed up first, and how the operator answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Response = Literal["none", "restart", "restore"]
"""What the operator does once the fault is noticed: wait for it to end, start the service again, or restore a backup."""


@dataclass(frozen=True, slots=True)
class Blow:
    """A fault with its parameters, as named in `gymkhana chaos list`. `hold_s` is how long it is left to act."""

    fault: str
    parameters: Mapping[str, Any]
    hold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Drill:
    """One story: `backups` are taken under load, then the blows fall in order, then comes the response."""

    name: str
    title: str
    blows: tuple[Blow, ...]
    response: Response
    backups: int = 1


@dataclass(frozen=True, slots=True)
class Pace:
    """How long each part of a drill lasts, and with how many users."""

    users: int
    ramp_per_s: float
    settle_s: float
    baseline_s: float
    exposure_s: float
    """Between the last backup and the fault: the writes that only the ledger remembers afterwards."""
    after_s: float


def full_pace(users: int) -> Pace:
    """The pace of `make drill`: under 72 seconds a drill with a thousand users."""
    return Pace(users, max(users / 12, 5), settle_s=4, baseline_s=12, exposure_s=4, after_s=8)


def quick_pace(users: int) -> Pace:
    """The pace of `make demo`: the same story in a third of the time."""
    return Pace(users, max(users / 2, 5), settle_s=1, baseline_s=5, exposure_s=1.5, after_s=2)


DRILLS: Mapping[str, Drill] = {
    drill.name: drill
    for drill in (
        Drill(
            "crash",
            "The service is killed under load and started again; nothing is restored.",
            (Blow("kill-service", {}),),
            "restart",
        ),
        Drill(
            "broken-transactions",
            "Jobs fail before their commit and database connections break in the middle of transactions.",
            (
                Blow("fail-in-transaction", {"rate": 0.3, "seconds": 6.0}, hold_s=6.0),
                Blow("kill-connections", {"rate": 0.05, "seconds": 6.0}, hold_s=6.0),
            ),
            "none",
        ),
        Drill(
            "corrupt-database",
            "Pages of the live database are zeroed; it is restored from the newest backup.",
            (Blow("corrupt-database", {"mode": "zero-page", "count": 8}),),
            "restore",
        ),
        Drill(
            "lost-database",
            "The database is deleted under load; it is restored from the newest backup.",
            (Blow("delete-database", {}),),
            "restore",
        ),
        Drill(
            "corrupt-newest-backup",
            "The newest backup is damaged, then the database is deleted; the older backup must be found and used.",
            (Blow("corrupt-newest-backup", {}), Blow("delete-database", {})),
            "restore",
            backups=2,
        ),
    )
}
