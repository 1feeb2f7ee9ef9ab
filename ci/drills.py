"""The drills, as data: what is broken, how often it is backed up first, and how the operator answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Response = Literal["none", "restart", "restore", "failover"]
"""What the operator does once the fault is noticed: wait for it to end, start the service again, restore a backup, or put
the standby in the primary's place."""


Database = Literal["sqlite", "postgres"]


@dataclass(frozen=True, slots=True)
class Blow:
    """A fault with its parameters, as named in `gymkhana chaos list`. `hold_s` is how long it is left to act."""

    fault: str
    parameters: Mapping[str, Any]
    hold_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Protection:
    """What guards the database during the drill, beside a directory store.

    `object_store` is a second store, on an S3 server of the stand's own. The shipped `log` makes a restore end at the last
    commit that was shipped (continuous), or at the last one acknowledged (synchronous). `schedule_s` is how often a
    scheduler makes a backup by itself. A `standby` follows a PostgreSQL server; each commit waits for a synchronous one.
    A `proxy` stands between service and server. With `pgbackrest` it is that program that keeps the backups and the log.
    """

    object_store: bool = False
    log: Literal["none", "continuous", "synchronous"] = "none"
    encrypted: bool = False
    schedule_s: float | None = None
    standby: Literal["none", "asynchronous", "synchronous"] = "none"
    proxy: bool = False
    pgbackrest: bool = False


@dataclass(frozen=True, slots=True)
class Drill:
    """One story: `backups` are taken under load, then the blows fall in order, then comes the response.

    `acts` are what else happens once the blows have fallen, by their names in `ci/acts.py`.
    """

    name: str
    title: str
    blows: tuple[Blow, ...]
    response: Response
    backups: int = 1
    protection: Protection = Protection()
    acts: tuple[str, ...] = ()
    rolling: bool = False
    """The story begins with the service as it was before, and the acts fall inside the baseline: nobody may notice them."""


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
    """The pace of `make drill`: about a minute a drill with a thousand users."""
    return Pace(users, max(users / 12, 5), settle_s=3, baseline_s=10, exposure_s=4, after_s=6)


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
"""What `all` runs: the five disasters that need nothing but the database and a directory."""

ON_POSTGRES: Mapping[str, Drill] = {
    drill.name: drill
    for drill in (
        dataclasses.replace(DRILLS["crash"], backups=0),
        dataclasses.replace(DRILLS["broken-transactions"], backups=0),
        dataclasses.replace(
            DRILLS["corrupt-database"],
            title="Pages of a table are overwritten on the disk; the cluster is restored from the newest backup.",
            blows=(Blow("corrupt-relation", {"table": "users", "count": 8}),),
        ),
        dataclasses.replace(
            DRILLS["lost-database"],
            title="The cluster is deleted with its server under load; it is restored from the newest backup.",
            blows=(Blow("delete-data-directory", {}),),
        ),
        dataclasses.replace(
            DRILLS["corrupt-newest-backup"],
            title="The newest backup is damaged, then the cluster is lost; the older backup must be found and used.",
            blows=(Blow("corrupt-newest-backup", {}), Blow("delete-data-directory", {})),
        ),
        Drill(
            "terminate-connections",
            "Database connections of the service are ended by the server, five a second.",
            (Blow("terminate-backends", {"per_second": 5.0, "seconds": 30.0}, hold_s=30.0),),
            "none",
            backups=0,
        ),
        Drill(
            "lost-data-directory",
            "The server and its disk are gone; the base backup is restored and the log that was taken replayed.",
            (Blow("delete-data-directory", {}),),
            "restore",
            protection=Protection(log="continuous"),
        ),
        Drill(
            "lost-primary-failover",
            "The primary is killed under load; it is fenced, and its standby promoted.",
            (Blow("kill-postmaster", {}),),
            "failover",
            backups=0,
            protection=Protection(standby="asynchronous"),
        ),
    )
}
"""What `all` runs on PostgreSQL: the five disasters, and three that only a server can meet."""

OF_THE_SERVER: Mapping[str, Drill] = {
    drill.name: drill
    for drill in (
        Drill(
            "deadlocks",
            "Transactions lock the rows that the service wants in opposite orders, one deadlock after the other.",
            (Blow("deadlock-pairs", {"seconds": 15.0}, hold_s=15.0),),
            "none",
            backups=0,
        ),
        Drill(
            "unknown-commits",
            "One commit in ten is made, its answer dropped and its connection cut: nobody is told how it ended.",
            (Blow("cut-after-commit", {"rate": 0.1, "seconds": 10.0}, hold_s=10.0),),
            "none",
            backups=0,
            protection=Protection(proxy=True),
        ),
        Drill(
            "server-crash",
            "The database server is killed under load and started again; the service goes on by itself.",
            (Blow("kill-companion", {"companion": "postgres"}),),
            "none",
            backups=0,
            acts=("start-server",),
        ),
        Drill(
            "lost-server-disk",
            "The server and its disk are gone, while each commit waits until the log that holds it is elsewhere.",
            (Blow("delete-data-directory", {}),),
            "restore",
            protection=Protection(log="synchronous"),
        ),
        Drill(
            "lost-primary-synchronous",
            "The primary is killed under load and its standby promoted, while each commit waits until the standby has it.",
            (Blow("kill-postmaster", {}),),
            "failover",
            backups=0,
            protection=Protection(standby="synchronous"),
        ),
    )
}
"""What `server` runs: what else a database server can do, or promise."""

OF_PGBACKREST: Mapping[str, Drill] = {
    drill.name: drill
    for drill in (
        Drill(
            "lost-data-directory-pgbackrest",
            "The server and its disk are gone; pgBackRest restores its backup and the log that it was given.",
            (Blow("delete-data-directory", {}),),
            "restore",
            protection=Protection(pgbackrest=True),
        ),
    )
}
"""What `pgbackrest` runs, on a PostgreSQL that the pgBackRest here works with: the rehearsal of whoever has that."""

OF_BACKUPS: Mapping[str, Drill] = {
    drill.name: drill
    for drill in (
        Drill(
            "lost-host",
            "The database and the directory store are gone; only the object store is left to restore from.",
            (Blow("delete-database", {}), Blow("delete-store", {})),
            "restore",
            protection=Protection(object_store=True, encrypted=True),
        ),
        Drill(
            "lost-database-replay",
            "The database is deleted under load; the newest backup is restored and the shipped log replayed.",
            (Blow("delete-database", {}),),
            "restore",
            protection=Protection(log="continuous"),
        ),
        Drill(
            "lost-disk",
            "Every process is killed and the database deleted, while each write is acknowledged only when it is shipped.",
            (Blow("kill-service", {}), Blow("delete-database", {})),
            "restore",
            protection=Protection(log="synchronous"),
        ),
        Drill(
            "wrong-key",
            "The database is deleted; a key that does not open the backup is refused, the right one brings it back.",
            (Blow("delete-database", {}),),
            "restore",
            protection=Protection(encrypted=True),
            acts=("try-wrong-key",),
        ),
        Drill(
            "missed-backup",
            "The scheduler of the backups dies, and whoever looks at the backups is told.",
            (Blow("kill-companion", {"companion": "scheduler"}),),
            "none",
            backups=0,
            protection=Protection(schedule_s=2.0),
            acts=("await-alarm",),
        ),
        Drill(
            "store-away",
            "One of two stores goes away and comes back; backups go on, loudly, and it is brought level.",
            (Blow("kill-companion", {"companion": "object-store"}),),
            "none",
            protection=Protection(object_store=True),
            acts=("back-up-without", "bring-level"),
        ),
    )
}
"""What `backups` runs: the disasters that the backups themselves are asked about."""

OF_RELEASES: Mapping[str, Drill] = {
    drill.name: drill
    for drill in (
        Drill(
            "migrate-under-load",
            "The schema is expanded under the old version, the new version takes over, and the schema is contracted.",
            (),
            "none",
            backups=0,
            acts=("expand-schema", "switch-version", "contract-schema"),
            rolling=True,
        ),
    )
}
"""What `releases` runs, on either database: what users must not notice at all."""

EVERY: Mapping[str, Drill] = {**ON_POSTGRES, **OF_THE_SERVER, **DRILLS, **OF_BACKUPS, **OF_RELEASES, **OF_PGBACKREST}
