"""The last step of a restored cluster, whoever built it: no server on the old directory, which is kept as evidence."""

from __future__ import annotations

import os
from pathlib import Path

from backups import disk
from backups.clock import Clock, compact
from backups.errors import InUse
from backups.plan import RestorePlan, Target
from backups.postgres.engine import server_of


def target_at(data: Path, backup: str | None, clock: Clock) -> Target:
    """The place to restore to, and where its old directory would be kept: under a name that is free."""
    stamp = compact(clock.now())
    evidence, number = data.with_name(f"{data.name}.evidence-{stamp}"), 2
    while evidence.exists():
        evidence, number = data.with_name(f"{data.name}.evidence-{stamp}.{number}"), number + 1
    return Target(path=data, existing=(data,) if data.exists() else (), backup=backup, evidence=evidence)


def require_stopped(data: Path) -> None:
    """Return when no server runs on that directory, deleted or not, else raise InUse naming it."""
    if holders := server_of(data):
        raise InUse(f"{', '.join(map(str, holders))} runs on {data}: stop it first, with pg_ctl stop -D {data}.")


def exchange(plan: RestorePlan) -> None:
    """The build is at the place of the old directory, durably; a kill in between leaves both, under other names."""
    _like(plan.database, plan.build)
    if plan.database.exists():
        plan.database.rename(plan.evidence)
    plan.build.rename(plan.database)
    disk.sync_directory(plan.database.parent)


def _like(data: Path, built: Path) -> None:
    """The build belongs to whom the old directory belonged to, or the one above it, or the server could not open it.

    As far as that is for us to say: whoever is not root can give nothing away, and starts the server as whoever he is.
    """
    if os.geteuid() != 0:
        return
    owner = (data if data.exists() else data.parent).stat()
    if (owner.st_uid, owner.st_gid) == (built.stat().st_uid, built.stat().st_gid):
        return
    for place in (built, *built.rglob("*")):
        os.chown(place, owner.st_uid, owner.st_gid, follow_symlinks=False)
