"""What each drill promises, as data: the judge holds a run against its row of this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ci.cluster import ARCHIVE_TIMEOUT_S
from loadtests.generator import SATURATED_CORES

ARCHIVED_WITHIN_S = 2.0
"""What pushing a segment to pgBackRest's repository may take: it is lost with the disk until it has arrived."""


@dataclass(frozen=True, slots=True)
class Goals:
    """The goals of one drill; a value that reaches its bound has missed it, but for the rate, which may equal it."""

    recovery_s: float = 15.0
    refuses_newest: bool = False
    """The newest backup is damaged, and must be refused for an older one."""
    refuses_key: bool = False
    """A key that does not open the backup is tried first, and must be refused with nothing touched."""
    loss_s: float | None = None
    """The log is shipped and replayed, so at most so many seconds of writes are lost; without it, the backup's age."""
    keeps_all: bool = False
    """Nothing acknowledged may be lost, though everything on the machine is."""
    alarm_s: float | None = None
    """The missed backup must be told within so many seconds of the moment from which it was missing."""
    degrades: bool = False
    """A store is away: backups go on in the others, which is said, and it is brought level when it is back."""
    rolls_back: bool = False
    """Writes are made to fail half-way, and must vanish whole."""
    serves_through: bool = False
    """No request may fail for good while the fault acts: whatever it does to one, the service runs again."""
    rate_tolerance: float = 0.05
    """How far the achieved rate may be from the one that think time implies, as a share of it."""
    rate_samples_min: int = 1000
    """Below this many requests chance alone moves the rate by more than the tolerance is worth; then it does not gate."""
    p95_ms: float = 500.0
    calm_p95_ms: float = 50.0
    """For a machine with nothing else to do: printed and judged, never a gate."""
    memory_mib: float = 300.0
    generator_cores: float = SATURATED_CORES


GOALS: Mapping[str, Goals] = {
    "crash": Goals(),
    "broken-transactions": Goals(rolls_back=True),
    "terminate-connections": Goals(),
    "unknown-commits": Goals(),
    "server-crash": Goals(),
    "deadlocks": Goals(serves_through=True),
    "corrupt-database": Goals(),
    "lost-database": Goals(),
    "corrupt-newest-backup": Goals(refuses_newest=True),
    "lost-host": Goals(),
    "lost-database-replay": Goals(loss_s=2.0),
    "lost-disk": Goals(keeps_all=True),
    "lost-data-directory": Goals(loss_s=1.0),
    # Longer than ours may take: it makes each file of the cluster durable by itself, and is asked for each segment.
    "lost-data-directory-pgbackrest": Goals(recovery_s=30.0, loss_s=ARCHIVE_TIMEOUT_S + ARCHIVED_WITHIN_S),
    "lost-server-disk": Goals(keeps_all=True),
    "lost-primary-failover": Goals(loss_s=1.0),
    "lost-primary-synchronous": Goals(keeps_all=True),
    "wrong-key": Goals(refuses_key=True),
    "missed-backup": Goals(alarm_s=3.0),
    "store-away": Goals(degrades=True),
    "migrate-under-load": Goals(),
}
"""By the name of the drill. A drill that is not here is held to `Goals()`."""
