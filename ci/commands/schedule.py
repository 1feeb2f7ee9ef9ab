"""`gymkhana schedule`: backups made, verified and pruned when they are due, until told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ci.commands.backup import options

if TYPE_CHECKING:
    from backups.keys.keyring import Keyring


@click.command("schedule")
@options.database
@options.stores
@click.option("--cron", metavar="CRON", help="When a backup is due, in UTC.  [default: 0 2 * * *]")
@click.option("--every", metavar="TIME", help="A backup is due so long after the last one, instead of --cron.")
@click.option("--verify-level", type=click.IntRange(0, 4), default=3, show_default=True, help="How each one is proven.")
@click.option("--rehearse-every", metavar="TIME", help="Boot a service on the newest, so long after the last time.")
@click.option("--prune/--no-prune", default=False, help="Delete what no rule keeps, after each backup.")
@click.option(
    "--status-dir",
    type=click.Path(file_okay=False),
    metavar="DIR",
    envvar="GYM_STATUS_DIR",
    help="Leave there how the backups are, for the service's alerts.  [default: GYM_STATUS_DIR]",
)
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
    status_dir: str | None,
    demo: bool,
    position: str,
    keyring: Keyring,
) -> None:
    """Make backups when they are due, verify them and prune, until told to stop.

    One line of JSON on standard error for each thing that happened. A backup that fails is told and tried again, ever more
    patiently; that one is missing is told by `gymkhana backup status`, also when this does not run at all. A store that was
    away is brought level after the first backup that it answers to. SIGTERM ends it with 0; a backup under way is given up.

    \b
    Examples:
      gymkhana schedule --store /mnt/backups
      gymkhana schedule --store /mnt/backups --every 1h --rehearse-every 7d --prune
    """
    from pathlib import Path

    from backups.addresses import engine_for
    from backups.keeping.schedule import DAILY, checked_cron, duration
    from ci.scheduler import Scheduler, tell

    if cron and every:
        raise click.UsageError("Say --cron or --every, not both.")
    engine = engine_for(database, position_of=position)
    scheduler = Scheduler(
        engine,
        database,
        stores,
        keyring,
        when=duration(every) if every else checked_cron(cron or DAILY),
        ship_socket=options.ship_socket(engine.path_of(database)),
        verify_level=verify_level,
        rehearse_every=duration(rehearse_every) if rehearse_every else None,
        prunes=prune,
        demonstration=demo,
        status_dir=Path(status_dir) if status_dir else None,
    )
    try:
        scheduler.run()
    except KeyboardInterrupt:
        tell("schedule ended")
