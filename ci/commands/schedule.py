"""`gymkhana schedule`: backups made, verified and pruned when they are due, until told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ci.commands.backup import options

if TYPE_CHECKING:
    from backups.keys.keyring import Keyring

PATIENCE_S = (5.0, 30.0, 120.0, 600.0)
"""How long to wait after a failure, then after the next."""
MOST_S = 30.0
"""The longest sleep: the clock may be set meanwhile, and others make backups too."""


@click.command("schedule")
@options.database
@options.stores
@click.option("--cron", metavar="CRON", help="When a backup is due, in UTC.  [default: 0 2 * * *]")
@click.option("--every", metavar="TIME", help="A backup is due so long after the last one, instead of --cron.")
@click.option("--verify-level", type=click.IntRange(0, 4), default=3, show_default=True, help="How each one is proven.")
@click.option("--rehearse-every", metavar="TIME", help="Boot a service on the newest, so long after the last time.")
@click.option("--prune/--no-prune", default=False, help="Delete what no rule keeps, after each backup.")
@click.option("--demo", is_flag=True, envvar="GYM_STORE_DEMO", help="Allow a store on the database's own disk.")
@options.position
@options.sealing
def command(
    database: str,
    stores: tuple[str, ...],
    cron: str | None,
    every: str | None,
    verify_level: int,
    rehearse_every: str | None,
    prune: bool,
    demo: bool,
    position: str,
    keyring: Keyring,
) -> None:
    """Make backups when they are due, verify them and prune, until told to stop.

    One line of JSON on standard error for each thing that happened. A backup that fails is told and tried again, ever more
    patiently; that one is missing is told by `gymkhana backup status`, also when this does not run at all.

    \b
    Examples:
      gymkhana schedule --store /mnt/backups
      gymkhana schedule --store /mnt/backups --every 1h --rehearse-every 7d --prune
    """
    import time

    from backups.addresses import engine_for, stores_at
    from backups.backup import run_backup
    from backups.clock import SYSTEM
    from backups.errors import BackupError, UsageError
    from backups.keeping import catalogue as catalogues
    from backups.keeping.prune import prune as delete
    from backups.keeping.retention import Policy
    from backups.keeping.schedule import DAILY, Due, checked_cron, due_by_cron, due_every, duration
    from backups.log.shipped import log_span
    from backups.verify import verify
    from ci.commands.backup.rehearsing import rehearsed_since

    if cron and every:
        raise click.UsageError("Say --cron or --every, not both.")
    rehearsing = duration(rehearse_every) if rehearse_every else None
    interval = duration(every) if every else None
    expression = checked_cron(cron or DAILY)
    engine = engine_for(database, position_of=position)
    socket = options.ship_socket(engine.path_of(database))

    def due() -> Due:
        entries = catalogues.read(stores_at(stores, make=True)).entries
        now = SYSTEM.now()
        return due_every(entries, interval, now) if interval else due_by_cron(entries, expression, now)

    def back_up(why: str) -> None:
        place = stores_at(stores, make=True)
        made = run_backup(engine, database, place, keyring=keyring, log=log_span(socket), demonstration=demo)
        _tell("backup made", id=made.id, kind=made.kind, why=why, seconds=round(made.seconds, 3), trouble=place.trouble)
        look = verify(place, made.id, level=verify_level, keyring=keyring)
        _tell("backup verified", id=made.id, level=look.level, ok=look.ok, findings=look.findings)
        if rehearsing and not rehearsed_since(catalogues.read(place), rehearsing):
            from ci.rehearsal import Rehearsal

            look = verify(place, made.id, level=5, keyring=keyring, boot=Rehearsal())
            _tell(
                "backup rehearsed", id=made.id, level=look.level, ok=look.ok, findings=look.findings, unseen=look.unseen
            )
        if prune:
            pruned = delete(place, Policy())
            log = [str(cut) for cut in pruned.log.deleted]
            _tell("pruned", marked=pruned.marked, deleted=pruned.deleted, log_deleted=log)

    failures = 0
    _tell("schedule begun", database=database, stores=stores, when=every or expression)
    while True:
        try:
            coming = due()
            if coming.now:
                back_up(coming.why)
                coming = due()
            failures = 0
            pause = max(0.0, (coming.next - SYSTEM.now()).total_seconds())
        except UsageError:
            raise
        except BackupError as error:
            pause = PATIENCE_S[min(failures, len(PATIENCE_S) - 1)]
            failures += 1
            _tell("backup failed", error=str(error), again_in_s=pause)
        time.sleep(min(max(pause, 0.05), MOST_S))


def _tell(event: str, **facts: Any) -> None:
    import msgspec

    from backups.clock import SYSTEM, rfc3339

    line = {"event": event, "process": "schedule", "timestamp": rfc3339(SYSTEM.now()), **facts}
    click.echo(msgspec.json.encode(line).decode(), err=True)
