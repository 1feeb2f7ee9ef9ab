"""`gymkhana backup status`, `prune`, `pin` and `resync`: whether there is enough, and what is kept where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ci.commands.backup import options
from ci.commands.backup.shown import megabytes, say_rows

if TYPE_CHECKING:
    from backups.keeping.prune import LogPruned
    from backups.keeping.status import Status


@click.command("status")
@options.stores
@click.option("--max-age", metavar="TIME", default="26h", show_default=True, help="How old the newest backup may be.")
@click.option("--max-unverified", metavar="TIME", help="How old the newest verified one may be.  [default: not asked]")
@click.option(
    "--max-unrehearsed", metavar="TIME", help="How old the newest rehearsed one may be.  [default: not asked]"
)
@click.option("--prometheus", is_flag=True, help="Gauges for Prometheus on standard output.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="With --prometheus: into that file, replaced as a whole.",
)
@click.option(
    "--status-dir",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Also leave there what the service's alerts and its board of backups read; its GYM_STATUS_DIR.",
)
@click.option("--health", is_flag=True, help="A health check's answer (application/health+json) on standard output.")
@options.as_json
def status(
    stores: tuple[str, ...],
    max_age: str,
    max_unverified: str | None,
    max_unrehearsed: str | None,
    prometheus: bool,
    out: str | None,
    status_dir: str | None,
    health: bool,
    as_json: bool,
) -> None:
    """Say whether the backups are all right, whoever forgot to make them. Exits with 1 when an alarm is on.

    \b
    Examples:
      gymkhana backup status --max-age 26h --max-unverified 48h --max-unrehearsed 8d
      gymkhana backup status --status-dir /srv/gym/status
    """
    from pathlib import Path

    import msgspec

    from backups.clock import SYSTEM
    from backups.disk import write_durably
    from backups.keeping import status as statuses
    from backups.keeping.schedule import duration
    from backups.keys.keyring import Keyring
    from backups.vaults import vault_at
    from ci.commands.backup.shown import say_json
    from ci.status_directory import Timelines, tell_backups

    if prometheus + health + as_json > 1:
        raise click.UsageError("Say one of --prometheus, --health and --json.")
    if out and not prometheus:
        raise click.UsageError("--out is for --prometheus; say both.")
    limits = statuses.Limits(
        duration(max_age),
        duration(max_unverified) if max_unverified else None,
        duration(max_unrehearsed) if max_unrehearsed else None,
    )
    vault = vault_at(stores, Keyring.plain())
    if not vault.keeps_records and (max_unverified or max_unrehearsed):
        raise click.UsageError(
            f"{vault.address} keeps no record of what was verified; leave --max-unverified and --max-unrehearsed out."
        )
    found = statuses.status(vault.kept(), SYSTEM.now(), limits, vault.trouble)
    if status_dir:
        tell_backups(Path(status_dir), vault, limits, course=Timelines().of(vault))
    if as_json:
        say_json({"ok": found.ok, "store": vault.address, **msgspec.to_builtins(found)})
    elif prometheus:
        text = statuses.prometheus(found, records=vault.keeps_records)
        if out:
            write_durably(Path(out), text.encode())
        else:
            click.echo(text, nl=False)
    elif health:
        say_json(statuses.health(found))
    else:
        _say(found, vault.address)
    if not found.ok:
        raise click.exceptions.Exit(1)


def _say(found: Status, address: str) -> None:
    from backups.clock import lasting

    ages = {"newest": found.age_s, "verified": found.verified_age_s, "rehearsed": found.rehearsed_age_s}
    told = [(name, "none" if age_s is None else f"{lasting(age_s)} ago") for name, age_s in ages.items()]
    say_rows(
        ("store", address),
        ("good", f"{found.backups} of {found.backups + found.suspect}, {megabytes(found.stored_bytes)}"),
        *told,
    )
    for alarm in found.alarms:
        click.echo(f"ALARM {alarm.name}: {alarm.sentence}")
    if found.ok:
        click.echo("No alarm.")


@click.command("prune")
@options.stores
@click.option(
    "--recent", metavar="HOURS", type=click.IntRange(0), default=48, show_default=True, help="Keep all of these."
)
@click.option("--daily", type=click.IntRange(0), default=7, show_default=True, help="Days of which the last is kept.")
@click.option("--weekly", type=click.IntRange(0), default=5, show_default=True, help="Weeks of which the last is kept.")
@click.option(
    "--monthly", type=click.IntRange(0), default=12, show_default=True, help="Months of which the last is kept."
)
@click.option(
    "--verified", type=click.IntRange(1), default=3, show_default=True, help="Newest verified ones kept anyway."
)
@click.option("--grace", metavar="TIME", default="24h", show_default=True, help="Between marking and deleting.")
@click.option("--dry-run", is_flag=True, help="Say what would be kept and deleted, and why; change nothing.")
@options.as_json
def prune(
    stores: tuple[str, ...],
    recent: int,
    daily: int,
    weekly: int,
    monthly: int,
    verified: int,
    grace: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete what no rule keeps, marked first and deleted later, by a run after the grace.

    Never deleted are the newest, the newest rehearsed, the newest verified ones, what is pinned, and what others build on.
    The shipped log goes with the backups that lead into it; that of a kept backup stays, and so does what is being written.
    """
    import msgspec

    from backups.addresses import stores_at
    from backups.keeping.prune import prune as delete
    from backups.keeping.retention import Policy
    from backups.keeping.schedule import duration
    from ci.commands.backup.shown import say_json, say_table

    policy = Policy(recent, daily, weekly, monthly, verified)
    place = stores_at(stores)
    pruned = delete(place, policy, grace=duration(grace), dry_run=dry_run)
    if as_json:
        say_json({"store": place.address, **msgspec.to_builtins(pruned)})
        return
    fate = dict.fromkeys(pruned.marked, "mark") | dict.fromkeys(pruned.deleted, "delete")
    rows = [(one.id, "keep" if one.keep else fate.get(one.id, "marked"), one.reason) for one in pruned.decisions]
    say_table(("BACKUP", "FATE", "WHY"), rows)
    if pruned.log.decisions:
        click.echo()
        say_table(("LOG", "SEGMENTS", "SIZE", "FATE", "WHY"), _log_rows(pruned.log))
    if dry_run:
        click.echo("Nothing was changed.")


def _log_rows(log: LogPruned) -> list[tuple[str, ...]]:
    fate = dict.fromkeys(log.marked, "mark") | dict.fromkeys(log.deleted, "delete")
    return [
        (
            str(one.cut),
            str(one.segments),
            megabytes(one.log_bytes),
            "keep" if one.keep else fate.get(one.cut, "marked"),
            one.reason,
        )
        for one in log.decisions
    ]


@click.command("resync")
@options.stores
@options.as_json
def resync(stores: tuple[str, ...], as_json: bool) -> None:
    """Copy to each store what it lacks and another one has, as after a store was away. Exits with 1 while one still is."""
    from backups.addresses import stores_at
    from backups.stores.mirrored import MirroredStore
    from ci.commands.backup.shown import say_json

    place = stores_at(stores)
    if not isinstance(place, MirroredStore):
        raise click.UsageError("Name at least two stores with --store: one alone is level with itself.")
    copied = place.level()
    if as_json:
        say_json({"store": place.address, "copied": list(copied)})
    else:
        click.echo(f"{len(copied)} objects were copied." if copied else "Every store holds everything already.")


@click.command("pin")
@click.argument("backup")
@click.option("--why", default="", help="What it is kept for.")
@click.option("--off", is_flag=True, help="Stop keeping it.")
@options.stores
def pin(backup: str, why: str, off: bool, stores: tuple[str, ...]) -> None:
    """Keep a backup whatever the rules of retention say, or stop keeping it."""
    from backups.addresses import stores_at
    from backups.clock import SYSTEM, rfc3339
    from backups.format import marks
    from backups.keeping import catalogue as catalogues

    place = stores_at(stores)
    entry = catalogues.read(place).find(backup)
    marks.pin(place, entry.id, pinned=not off, at=rfc3339(SYSTEM.now()), why=why)
    click.echo(f"{entry.id} is {'no longer pinned' if off else 'pinned'}.")
