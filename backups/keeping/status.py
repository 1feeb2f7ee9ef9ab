"""Are the backups all right? Computed by whoever asks, from what the store holds: no dead scheduler keeps it quiet. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from backups.clock import lasting
from backups.vault import Kept

AHEAD: Final = timedelta(minutes=5)
SHRUNK: Final = 0.5
"""A backup smaller than this share of the one before it is told: a database does not halve by itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How old the newest backup, the newest verified and the newest rehearsed one may be; None is not asked."""

    age: timedelta | None = timedelta(hours=26)
    unverified: timedelta | None = None
    unrehearsed: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that is wrong: a name for machines, a sentence for people."""

    name: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Status:
    """How the backups stand. Ages are in seconds, None when there is no such backup."""

    newest: str | None
    age_s: float | None
    verified_age_s: float | None
    rehearsed_age_s: float | None
    backups: int
    suspect: int
    stored_bytes: int
    alarms: tuple[Alarm, ...]
    at: datetime
    """When this was."""
    stores_away: int

    @property
    def ok(self) -> bool:
        """Whether there is no alarm."""
        return not self.alarms


def status(entries: Sequence[Kept], now: datetime, limits: Limits, trouble: Sequence[str] = ()) -> Status:
    """The status at that instant. `entries` are oldest first; `trouble` names stores that are away."""
    good = [entry for entry in entries if not entry.fault and not entry.expired]
    ages = [_age_s(good, now, level) for level in (-1, 3, 5)]
    age_s, verified_s, rehearsed_s = ages
    alarms = [Alarm("store-away", sentence) for sentence in trouble]
    alarms += _old("missed", "backup", age_s, limits.age)
    alarms += _old("unverified", "verified backup", verified_s, limits.unverified)
    alarms += _old("unrehearsed", "rehearsed backup", rehearsed_s, limits.unrehearsed)
    alarms += [Alarm("suspect", f"{entry.id}: {entry.fault}") for entry in entries if entry.fault and not entry.expired]
    alarms += _shrunk(good)
    if good and good[-1].taken > now + AHEAD:
        alarms.append(Alarm("clock", f"{good[-1].id} was taken in the future, so one of the clocks is wrong."))
    return Status(
        newest=good[-1].id if good else None,
        age_s=age_s,
        verified_age_s=verified_s,
        rehearsed_age_s=rehearsed_s,
        backups=len(good),
        suspect=sum(bool(entry.fault) for entry in entries),
        stored_bytes=sum(entry.stored_bytes or 0 for entry in entries),
        alarms=tuple(alarms),
        at=now,
        stores_away=len(trouble),
    )


def prometheus(found: Status, *, records: bool = True) -> str:
    """The status as Prometheus reads it. An age that there is none of is NaN, which is above no threshold.

    Instants grow old by themselves when nobody writes this any more, and that of what there is none of is 0: alert on how
    long ago those are. Without `records` of verifications nothing is said about them.
    """
    gauges = {
        "gymkhana_backup_age_seconds": ("Age of the newest good backup.", found.age_s),
        "gymkhana_backup_verified_age_seconds": ("Age of the newest verified backup.", found.verified_age_s),
        "gymkhana_backup_rehearsed_age_seconds": ("Age of the newest rehearsed backup.", found.rehearsed_age_s),
        "gymkhana_backups": ("Good backups.", found.backups),
        "gymkhana_backups_suspect": ("Backups that cannot be used.", found.suspect),
        "gymkhana_backup_stored_bytes": ("Bytes in the store.", found.stored_bytes),
        "gymkhana_backup_alarms": ("Alarms that are on.", len(found.alarms)),
        "gymkhana_backup_stores_away": ("Stores that do not answer.", found.stores_away),
        "gymkhana_backup_timestamp_seconds": ("When the newest good backup was taken.", _taken(found, found.age_s)),
    }
    if records:
        gauges |= {
            "gymkhana_backup_verified_timestamp_seconds": (
                "When the newest verified one was taken.", _taken(found, found.verified_age_s),
            ),
            "gymkhana_backup_rehearsed_timestamp_seconds": (
                "When the newest rehearsed one was taken.", _taken(found, found.rehearsed_age_s),
            ),
        }  # fmt: skip
    lines = []
    for name, (help, value) in gauges.items():
        lines += [f"# HELP {name} {help}", f"# TYPE {name} gauge", f"{name} {'NaN' if value is None else value}"]
    return "\n".join(lines) + "\n"


def _taken(found: Status, age_s: float | None) -> float:
    return 0.0 if age_s is None else found.at.timestamp() - age_s


def health(found: Status) -> dict[str, Any]:
    """The status as health checks read it: `application/health+json`, draft-inadarei-api-health-check-06."""
    raised = {alarm.name for alarm in found.alarms}
    seen = {
        "backups:age": (found.age_s, "s", ("missed", "clock")),
        "backups:verifiedAge": (found.verified_age_s, "s", ("unverified",)),
        "backups:rehearsedAge": (found.rehearsed_age_s, "s", ("unrehearsed",)),
        "backups:suspect": (found.suspect, "backups", ("suspect",)),
        "store:size": (found.stored_bytes, "B", ("shrunk",)),
        "store:answers": ("store-away" not in raised, "", ("store-away",)),
    }
    checks = {}
    for name, (value, unit, names) in seen.items():
        said = " ".join(alarm.sentence for alarm in found.alarms if alarm.name in names)
        measured = {"observedValue": value, "observedUnit": unit} if unit else {"observedValue": value}
        checks[name] = [{**measured, "status": "fail" if said else "pass", **({"output": said} if said else {})}]
    return {
        "status": "pass" if found.ok else "fail",
        "output": " ".join(alarm.sentence for alarm in found.alarms),
        "checks": checks,
    }


def _age_s(good: Sequence[Kept], now: datetime, level: int) -> float | None:
    """The age of the newest one of at least that level; one from the future is new."""
    newest = next((entry for entry in reversed(good) if entry.level >= level), None)
    return None if newest is None else max(0.0, (now - newest.taken).total_seconds())


def _old(name: str, what: str, age_s: float | None, limit: timedelta | None) -> list[Alarm]:
    if limit is None:
        return []
    if age_s is None:
        return [Alarm(name, f"There is no {what}.")]
    if age_s <= limit.total_seconds():
        return []
    return [Alarm(name, f"The newest {what} is {lasting(age_s)} old, and may be {lasting(limit.total_seconds())}.")]


def _shrunk(good: Sequence[Kept]) -> list[Alarm]:
    sizes = [(entry.id, entry.size_bytes) for entry in good if entry.size_bytes is not None]
    if len(sizes) < 2 or sizes[-1][1] >= SHRUNK * sizes[-2][1]:
        return []
    return [Alarm("shrunk", f"{sizes[-1][0]} holds {sizes[-1][1]} bytes, and the one before it {sizes[-2][1]}.")]
