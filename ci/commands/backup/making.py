"""`gymkhana backup run` and `consolidate`: new backups, from the database or from a chain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from ci.commands.backup import options
from ci.commands.backup.shown import facts_of, megabytes, position_text, say_json, say_rows, shown

if TYPE_CHECKING:
    from backups.keys.keyring import Keyring
    from backups.vault import Made


@contextmanager
def _giving_way(wanted: bool) -> Iterator[None]:
    """With the lowest priority for the block, threads and processes begun in it included."""
    import os

    before = os.getpriority(os.PRIO_PROCESS, 0)
    if wanted:
        os.setpriority(os.PRIO_PROCESS, 0, 19)
    try:
        yield
    finally:
        with suppress(
            PermissionError
        ):  # Only root may go back up; by then all that is left to do is to say what was done.
            os.setpriority(os.PRIO_PROCESS, 0, before)


@click.command("run")
@options.database
@options.stores
@click.option(
    "--kind",
    type=click.Choice(["auto", "full", "incr"]),
    default="auto",
    show_default=True,
    help="All of it, or what changed since the newest good backup; auto does the second where it can.",
)
@click.option("--if-due", metavar="CRON", help="Only when none was made since this came up (UTC): 0 2 * * *.")
@click.option("--pace", type=click.FloatRange(1), metavar="MB/S", help="Read no faster, and give way to others.")
@click.option("--demo", is_flag=True, envvar="GYM_STORE_DEMO", help="Allow a store on the database's own disk.")
@options.position
@options.sealing
@options.as_json
def run(
    database: str,
    stores: tuple[str, ...],
    kind: str,
    if_due: str | None,
    pace: float | None,
    demo: bool,
    position: str,
    keyring: Keyring,
    as_json: bool,
) -> None:
    """Make a backup of the running database.

    \b
    Examples:
      gymkhana backup run --store /mnt/backups
      gymkhana backup run --store /mnt/backups --recipient age1... --kind full
      gymkhana backup run --database postgresql://gym@127.0.0.1/gym --store pgbackrest:main
    """
    from typing import Literal, cast

    from backups.addresses import engine_for
    from backups.clock import SYSTEM, rfc3339
    from backups.keeping.schedule import due_by_cron
    from backups.log.shipped import log_span
    from backups.vaults import vault_at

    engine = engine_for(database, position_of=position)
    log = log_span(options.ship_socket(engine.path_of(database))) if engine.kind == "sqlite" else None
    vault = vault_at(stores, keyring, database=database, position_of=position, log=log, make=True)
    if if_due is not None:
        due = due_by_cron(vault.kept(), if_due, SYSTEM.now())
        if not due.now:
            known = {"made": False, "why": due.why, "next": rfc3339(due.next)}
            say_json(known) if as_json else click.echo(f"No backup is due: {due.why}.")
            return
    with _giving_way(pace is not None), shown(as_json) as progress:
        made = vault.back_up(
            database,
            kind=cast(Literal["auto", "full", "incr"], kind),
            demonstration=demo,
            pace=None if pace is None else int(pace * 1e6),
            progress=progress,
        )
    _say_made(made, vault.address, as_json)


@click.command("watch", context_settings={"ignore_unknown_options": False})
@options.database
@click.option("--store", metavar="STORE", envvar="GYM_STORE", default="var/backups", help="Where the log goes.")
@click.option(
    "--socket", metavar="PATH", envvar="GYM_SHIP", help="Where it is asked to ship.  [default: beside the database]"
)
@click.option("--interval", metavar="TIME", help="How often the log is shipped.  [default: 1s, PostgreSQL 250ms]")
@click.option("--spool", metavar="DIR", help="PostgreSQL: where the log arrives first.  [default: STORE.spool]")
@click.option(
    "--sync", is_flag=True, help="PostgreSQL: have every commit wait until the log that holds it has arrived."
)
@click.option(
    "--recipient", "recipients", metavar="AGE1…", multiple=True, envvar="GYM_RECIPIENTS", help="Seal the log."
)
@click.option(
    "--host-secret", metavar="FILE", envvar="GYM_HOST_SECRET", default="var/host.secret", help="This host's own."
)
@options.position
@click.option("--demo", is_flag=True, envvar="GYM_STORE_DEMO", help="Allow a store on the database's own disk.")
def watch(
    database: str,
    store: str,
    socket: str | None,
    interval: str | None,
    spool: str | None,
    sync: bool,
    recipients: tuple[str, ...],
    host_secret: str,
    position: str,
    demo: bool,
) -> None:
    """Ship the database's log to the store until told to stop, so that the newest point is a second old.

    It makes the backup that the log begins with, and checkpoints the database in the service's place: start the service with
    GYM_SHIP set to the same socket, and with GYM_SHIP_MODE=sync to have each write acknowledged only when it is shipped.

    A PostgreSQL server's log is taken by pg_receivewal and a replication slot into the spool, which a restore reads too, and
    from there to the store; base backups are `gymkhana backup run`.

    \b
    Examples:
      gymkhana backup watch --store /mnt/backups
      gymkhana backup watch --database postgresql://gym@127.0.0.1/gym --store /mnt/backups --sync
    """
    import os
    import sys

    from backups.addresses import engine_for
    from backups.keeping.schedule import duration

    engine = engine_for(database)
    if engine.kind == "postgres":
        words = [
            "--database", database, "--store", store, "--spool", str(options.spool_of((store,), spool)),
            *(["--interval-ms", f"{duration(interval).total_seconds() * 1000:g}"] if interval else []),
            *(["--sync"] if sync else []), *(word for recipient in recipients for word in ("--recipient", recipient)),
            "--host-secret", host_secret, *(["--demonstration"] if demo else []),
        ]  # fmt: skip
        os.execv(sys.executable, [sys.executable, "-P", "-m", "backups.postgres.receive", *words])  # noqa: S606
    if sync or spool:
        raise click.UsageError(
            "--sync and --spool are PostgreSQL's; for SQLite start the service with GYM_SHIP_MODE=sync."
        )
    path = engine.path_of(database)
    place = socket or str(options.ship_socket(path))
    command = [
        sys.executable, "-P", "-m", "backups.log.watch", "--database", str(path), "--store", store, "--socket", place,
        "--position-of", position, "--interval-ms", f"{duration(interval or '1s').total_seconds() * 1000:g}",
        "--host-secret", host_secret, *(word for recipient in recipients for word in ("--recipient", recipient)),
        *(["--demonstration"] if demo else []),
    ]  # fmt: skip
    os.execv(sys.executable, command)  # noqa: S606  no shell is wanted


@click.command("consolidate")
@click.argument("backup", required=False)
@options.stores
@options.sealing
@options.as_json
def consolidate(backup: str | None, stores: tuple[str, ...], keyring: Keyring, as_json: bool) -> None:
    """Put a chain together to a new full backup, without reading the database.

    BACKUP is an id; the newest one when left out. What is put together is read back and checked before it is listed.
    """
    from backups.addresses import engine_named, stores_at
    from backups.consolidate import consolidate as put_together
    from backups.errors import NoSuchBackup
    from backups.keeping import catalogue as catalogues
    from backups.vaults import StoreVault

    place = stores_at(stores)
    catalogue = catalogues.read(place)
    entry = catalogue.find(backup) if backup else catalogue.newest
    if entry is None:
        raise NoSuchBackup(f"{catalogue.address} holds no backup yet; make one with: gymkhana backup run.")
    engine = engine_named(entry.manifest.engine if entry.manifest else "sqlite")
    with shown(as_json) as progress:
        manifest = put_together(engine, place, entry.id, keyring=keyring, progress=progress)
    _say_made(StoreVault(place, keyring).made(manifest), place.address, as_json)


def _say_made(made: Made, address: str, as_json: bool) -> None:
    """What the new backup is, and where."""
    from backups.clock import rfc3339

    told = facts_of(made.kept)
    if as_json:
        known = {"key_proven": made.key_proven, "stores": list(made.held), "trouble": list(made.trouble)}
        say_json({**told, "taken_t": made.taken_t, "store": address, **known})
        return
    by = " by what the server says has changed" if told["native"] else ""
    grown = f", on {made.kept.parent}{by}" if made.kept.parent else ""
    rows = "" if told["rows"] is None else f", {told['rows']} rows"
    say_rows(
        ("backup", f"{made.kept.id}{grown}"),
        ("taken", told["taken"] or rfc3339(made.kept.taken)),
        ("database", f"{told['database']}, {megabytes(told['size_bytes'])}{rows}"),
        ("position", position_text(told["position"])),
        ("stored", f"{megabytes(told['stored_bytes'])} in {' and '.join(made.held)}"),
        ("sealed", made.sealed or "no"),
        ("took", f"{told['seconds']:.1f} s"),
    )
    for sentence in made.trouble:
        click.echo(f"WITHOUT ONE OF ITS STORES: {sentence}", err=True)
    if told["why_whole"]:
        click.echo(f"Not an increment of the server's own, all of it was read: {told['why_whole']}")
    if made.violations:
        click.echo(
            f"The database itself has {made.violations} foreign key violations; the backup keeps them as they are."
        )
