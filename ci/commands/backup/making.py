"""`gymkhana backup run` and `consolidate`: new backups, from the database or from a chain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from ci.commands.backup import options
from ci.commands.backup.shown import facts_of, megabytes, position_text, say_json, say_rows, shown

if TYPE_CHECKING:
    from backups.format.manifest import Manifest
    from backups.keys.keyring import Keyring
    from backups.stores.store import Store


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
    """
    from typing import Literal, cast

    from backups.addresses import engine_for, stores_at
    from backups.backup import run_backup
    from backups.clock import SYSTEM, rfc3339
    from backups.keeping import catalogue as catalogues
    from backups.keeping.schedule import due_by_cron
    from backups.log.shipped import log_span

    engine = engine_for(database, position_of=position)
    path = engine.path_of(database)
    place = stores_at(stores, make=True)
    if if_due is not None:
        due = due_by_cron(catalogues.read(place).entries, if_due, SYSTEM.now())
        if not due.now:
            known = {"made": False, "why": due.why, "next": rfc3339(due.next)}
            say_json(known) if as_json else click.echo(f"No backup is due: {due.why}.")
            return
    with _giving_way(pace is not None), shown(as_json) as progress:
        manifest = run_backup(
            engine,
            database,
            place,
            kind=cast(Literal["auto", "full", "incr"], kind),
            keyring=keyring,
            pace=None if pace is None else int(pace * 1e6),
            log=log_span(options.ship_socket(path)) if engine.kind == "sqlite" else None,
            progress=progress,
            demonstration=demo,
        )
    _say_made(manifest, place, keyring, as_json)


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

    place = stores_at(stores)
    catalogue = catalogues.read(place)
    entry = catalogue.find(backup) if backup else catalogue.newest
    if entry is None:
        raise NoSuchBackup(f"{catalogue.address} holds no backup yet; make one with: gymkhana backup run.")
    engine = engine_named(entry.manifest.engine if entry.manifest else "sqlite")
    with shown(as_json) as progress:
        manifest = put_together(engine, place, entry.id, keyring=keyring, progress=progress)
    _say_made(manifest, place, keyring, as_json)


def _say_made(manifest: Manifest, place: Store, keyring: Keyring, as_json: bool) -> None:
    """What the new backup is. With an identity at hand, a backup that it does not open is an error."""
    from backups.format.manifest import name_of
    from backups.keeping import catalogue as catalogues

    entry = catalogues.read(place).find(manifest.id)
    held = [copy.address for copy in place.copies if copy.size(name_of(manifest.id)) is not None]
    trouble = list(place.trouble)
    proven = manifest.envelope is not None and bool(keyring.identities)
    if proven:
        keyring.opened(manifest.envelope)
    sealed = "no" if manifest.envelope is None else "proven to open" if proven else "yes, not proven to open"
    if as_json:
        known = {"key_proven": proven if manifest.envelope else None, "stores": held, "trouble": trouble}
        say_json({**facts_of(entry), "store": place.address, **known})
        return
    by = " by what the server says has changed" if manifest.native else ""
    grown = f", on {manifest.parent}{by}" if manifest.parent else ""
    say_rows(
        ("backup", f"{manifest.id}{grown}"),
        ("taken", manifest.taken),
        ("database", f"{manifest.database}, {megabytes(manifest.size_bytes)}, {manifest.facts.rows} rows"),
        ("position", position_text(manifest.facts.position)),
        ("stored", f"{megabytes(manifest.stored_bytes)} in {' and '.join(held)}"),
        ("sealed", sealed),
        ("took", f"{manifest.seconds:.1f} s"),
    )
    for sentence in trouble:
        click.echo(f"WITHOUT ONE OF ITS STORES: {sentence}", err=True)
    if manifest.why_whole:
        click.echo(f"Not an increment of the server's own, all of it was read: {manifest.why_whole}")
    violations = manifest.facts.foreign_key_violations
    if violations:
        click.echo(f"The database itself has {violations} foreign key violations; the backup keeps them as they are.")
