"""`gymkhana backup restore`: the database put back, whole or repaired in place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from ci.commands.backup import options
from ci.commands.backup.shown import megabytes, position_text, say_json, say_rows, shown

if TYPE_CHECKING:
    from backups.keys.keyring import Keyring
    from backups.log.replay import Replayed
    from backups.plan import RestorePlan
    from backups.postgres.recovery import Goal
    from backups.restoration import LogReplayed, Restoration


@click.command("restore")
@options.database
@options.stores
@click.option("--backup", metavar="ID", help="This backup and no other.  [default: the newest good one]")
@click.option("--to", metavar="PATH", help="Restore to this place instead of over the database.")
@click.option(
    "--in-place", is_flag=True, help="Repair the file that is there: fetch and overwrite only the pages that differ."
)
@click.option("--to-time", metavar="INSTANT", help="The state at that instant: 2026-11-23T09:00:00+01:00.")
@click.option("--to-position", metavar="N", type=int, help="The state when the application first came so far.")
@click.option("--to-lsn", metavar="LSN", help="PostgreSQL: the state after that position of the log, 0/3000148.")
@click.option("--to-name", metavar="NAME", help="PostgreSQL: the state at that restore point.")
@click.option(
    "--to-timeline", metavar="N", type=click.IntRange(1), help="PostgreSQL: along this timeline.  [default: the newest]"
)
@click.option("--spool", metavar="DIR", help="PostgreSQL: where the log arrived.  [default: STORE.spool]")
@click.option("--no-replay", is_flag=True, help="The backup alone, without the log that was shipped after it.")
@click.option("--dry-run", is_flag=True, help="Print the plan and change nothing.")
@click.option("--yes", is_flag=True, help="Replace what is there without asking; it is kept as evidence.")
@options.opening
@options.as_json
def restore(
    database: str,
    stores: tuple[str, ...],
    backup: str | None,
    to: str | None,
    in_place: bool,
    to_time: str | None,
    to_position: int | None,
    to_lsn: str | None,
    to_name: str | None,
    to_timeline: int | None,
    spool: str | None,
    no_replay: bool,
    dry_run: bool,
    yes: bool,
    keyring: Keyring,
    as_json: bool,
) -> None:
    """Put the database back from a backup, falling back to an older one when the newest is bad.

    The service must be stopped, or for PostgreSQL the server. The old files are kept beside the database as evidence. Where
    the log was shipped it is replayed as far as it goes, or to the point asked for.

    \b
    Examples:
      gymkhana backup restore --dry-run
      gymkhana backup restore --to /tmp/look.db
      gymkhana backup restore --database postgresql://gym@127.0.0.1/gym --to-time 2026-11-23T09:00:00Z
      gymkhana backup restore --database postgresql://gym@127.0.0.1/gym --store pgbackrest:main
    """
    from backups.addresses import engine_for, stores_at
    from backups.log.points import AtPosition, Newest, Point, at_time
    from backups.pgbackrest import SCHEME
    from backups.restore import plan_restore
    from backups.restore import restore as bring_back

    points = (to_time, to_position, to_lsn, to_name)
    asked = [wanted for wanted in (*points, backup, in_place or None, no_replay or None) if wanted is not None]
    if len(asked) > 1:
        raise click.UsageError(
            "Say one of --to-time, --to-position, --to-lsn, --to-name, --backup, --in-place and --no-replay."
        )
    theirs = any(store.startswith(SCHEME) for store in stores)
    if theirs or engine_for(database).kind == "postgres":
        if in_place or to_position is not None:
            raise click.UsageError(
                "--in-place and --to-position are SQLite's; a cluster is restored whole, to a point in time."
            )
        where = _Cluster(database, stores, to, spool)
        goal = _goal(to_time, to_lsn, to_name, to_timeline, bool(asked))
        _restore_cluster(where, goal, backup, dry_run, yes, keyring, as_json)
        return
    if any(wanted is not None for wanted in (to_lsn, to_name, to_timeline, spool)):
        raise click.UsageError(
            "--to-lsn, --to-name, --to-timeline and --spool are PostgreSQL's; for SQLite use --to-time or --to-position."
        )
    point: Point | None = None if asked else Newest()
    if to_time is not None:
        point = at_time(to_time)
    elif to_position is not None:
        point = AtPosition(to_position)
    target = to or database
    engine = engine_for(target)
    place = stores_at(stores)
    plan = plan_restore(engine, place, target, backup=backup, in_place=in_place, point=point, keyring=keyring)
    if dry_run:
        _say_plan(plan, as_json)
        return
    if plan.database.exists() and not yes:
        _confirm(plan)
    with shown(as_json) as progress:
        restoration = bring_back(
            engine, place, target, backup=backup, in_place=in_place, point=point, keyring=keyring, progress=progress
        )
    _say_restoration(restoration, as_json)


class _Cluster(NamedTuple):
    """Which server's cluster, out of which stores and which spool, to which place."""

    database: str
    stores: tuple[str, ...]
    to: str | None
    spool: str | None


def _goal(
    to_time: str | None, to_lsn: str | None, to_name: str | None, to_timeline: int | None, asked: bool
) -> Goal | None:
    from dataclasses import replace

    from backups.log.points import at_time
    from backups.postgres import recovery

    if to_time is not None:
        goal = recovery.at_instant(at_time(to_time).instant)
    elif to_lsn is not None:
        goal = recovery.at_lsn(to_lsn)
    elif to_name is not None:
        goal = recovery.at_name(to_name)
    elif asked and to_timeline is not None:
        raise click.UsageError("--to-timeline says along which log to go, and --backup and --no-replay use none.")
    elif asked:
        return None
    else:
        goal = recovery.NEWEST
    return replace(goal, timeline=to_timeline)


def _restore_cluster(
    where: _Cluster, goal: Goal | None, backup: str | None, dry_run: bool, yes: bool, keyring: Keyring, as_json: bool
) -> None:
    from backups.vaults import vault_at

    vault = vault_at(
        where.stores,
        keyring,
        database=where.database,
        position_of=options.POSITION,
        spool=options.spool_of(where.stores, where.spool),
    )
    data = _data_directory(where) or vault.data_directory()
    plan = vault.plan(data, backup=backup, goal=goal)
    if dry_run:
        _say_plan(plan, as_json)
        return
    if plan.database.exists() and not yes:
        _confirm(plan)
    with shown(as_json) as progress:
        restoration = vault.restore(data, backup=backup, goal=goal, progress=progress)
    _say_restoration(restoration, as_json)


def _data_directory(where: _Cluster) -> Path | None:
    """Where the cluster goes, None when only the backups know: the server that could tell is down, as it should be."""
    from backups.addresses import engine_for
    from backups.postgres.connection import ServerAway

    if where.to is not None:
        return Path(where.to).resolve()
    engine = engine_for(where.database)
    if engine.kind != "postgres":  # None was named: pgBackRest's configuration tells.
        return None
    try:
        return engine.path_of(where.database)
    except ServerAway:
        return None


def _confirm(plan: RestorePlan) -> None:
    """Return when the person agreed to replace the database. A pipe cannot agree."""
    from backups.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(f"{plan.database} exists; add --yes to replace it (the old files are kept), or use --to.")
    question = f"This replaces {plan.database} with {plan.backup} ({plan.cost}). Type {plan.database.name} to go on"
    if click.prompt(question, default="", show_default=False, err=True) != plan.database.name:
        raise click.Abort


def _say_plan(plan: RestorePlan, as_json: bool) -> None:
    if as_json:
        from backups.restoration import as_json as plain

        say_json({"plan": plain(plan)})
        return
    _say_refused(plan)
    click.echo(f"Restore {plan.database} from {plan.backup}, taken {plan.taken} ({plan.cost}):")
    for number, step in enumerate(plan.steps, 1):
        click.echo(f"  {number}. {step}")


def _say_restoration(restoration: Restoration, as_json: bool) -> None:
    if as_json:
        from backups.restoration import as_json as plain

        say_json(plain(restoration))
        return
    _say_refused(restoration)
    replayed = restoration.replayed
    if restoration.log_cost:
        click.echo(restoration.log_cost)
    phases = ", ".join(f"{phase.name} {phase.end_t - phase.begin_t:.2f} s" for phase in restoration.phases)
    say_rows(
        ("restored", str(restoration.database)),
        ("from", f"{restoration.backup}, taken {restoration.taken}"),
        ("cost", str(restoration.cost)),
        *((("replayed", _told(replayed)),) if replayed else ()),
        (
            "holds",
            f"{megabytes(restoration.size_bytes)}, {position_text(restoration.rows)} rows, "
            f"position {position_text(restoration.position)}",
        ),
        ("evidence", str(restoration.evidence or "none: nothing was there")),
        ("took", f"{restoration.seconds:.1f} s: {phases}"),
    )


def _told(replayed: Replayed | LogReplayed) -> str:
    if hasattr(replayed, "commits"):
        return f"{replayed.commits} commits from the shipped log, up to {replayed.reaches}"
    until = f", last commit {replayed.reaches}" if replayed.reaches else ", in which nothing was committed"
    return f"the log up to {replayed.lsn}{until}; the cluster is on timeline {replayed.timeline}"


def _say_refused(result: RestorePlan | Restoration) -> None:
    for refused in result.refused:
        click.echo(f"Refused {refused.id}: {refused.why}")
