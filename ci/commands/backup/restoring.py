"""`gymkhana backup restore`: the database put back, whole or repaired in place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ci.commands.backup import options
from ci.commands.backup.shown import megabytes, position_text, say_json, say_rows, shown

if TYPE_CHECKING:
    from backups.keys.keyring import Keyring
    from backups.plan import RestorePlan
    from backups.restoration import Restoration


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
    no_replay: bool,
    dry_run: bool,
    yes: bool,
    keyring: Keyring,
    as_json: bool,
) -> None:
    """Put the database back from a backup, falling back to an older one when the newest is bad.

    The service must be stopped. The old files are kept beside the database as evidence. Where the log was shipped it is
    replayed as far as it goes, or to the instant or position asked for.

    \b
    Examples:
      gymkhana backup restore --dry-run
      gymkhana backup restore --to /tmp/look.db
    """
    from backups.addresses import engine_for, stores_at
    from backups.log.points import AtPosition, Newest, Point, at_time
    from backups.restoration import as_json as plain
    from backups.restore import plan_restore
    from backups.restore import restore as bring_back

    asked = [
        wanted for wanted in (to_time, to_position, backup, in_place or None, no_replay or None) if wanted is not None
    ]
    if len(asked) > 1:
        raise click.UsageError("Say one of --to-time, --to-position, --backup, --in-place and --no-replay.")
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
        if as_json:
            say_json({"plan": plain(plan)})
        else:
            _say_plan(plan)
        return
    if plan.database.exists() and not yes:
        _confirm(plan)
    with shown(as_json) as progress:
        restoration = bring_back(
            engine, place, target, backup=backup, in_place=in_place, point=point, keyring=keyring, progress=progress
        )
    if as_json:
        say_json(plain(restoration))
    else:
        _say_restoration(restoration)


def _confirm(plan: RestorePlan) -> None:
    """Return when the person agreed to replace the database. A pipe cannot agree."""
    from backups.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(f"{plan.database} exists; add --yes to replace it (the old files are kept), or use --to.")
    question = f"This replaces {plan.database} with {plan.backup} ({plan.cost}). Type {plan.database.name} to go on"
    if click.prompt(question, default="", show_default=False, err=True) != plan.database.name:
        raise click.Abort


def _say_plan(plan: RestorePlan) -> None:
    _say_refused(plan)
    click.echo(f"Restore {plan.database} from {plan.backup}, taken {plan.taken} ({plan.cost}):")
    for number, step in enumerate(plan.steps, 1):
        click.echo(f"  {number}. {step}")


def _say_restoration(restoration: Restoration) -> None:
    _say_refused(restoration)
    replayed = restoration.replayed
    if restoration.log_cost:
        click.echo(restoration.log_cost)
    phases = ", ".join(f"{phase.name} {phase.end_t - phase.begin_t:.2f} s" for phase in restoration.phases)
    say_rows(
        ("restored", str(restoration.database)),
        ("from", f"{restoration.backup}, taken {restoration.taken}"),
        ("cost", str(restoration.cost)),
        *(
            (("replayed", f"{replayed.commits} commits from the shipped log, up to {replayed.reaches}"),)
            if replayed
            else ()
        ),
        (
            "holds",
            f"{megabytes(restoration.size_bytes)}, {restoration.rows} rows, position {position_text(restoration.position)}",
        ),
        ("evidence", str(restoration.evidence or "none: nothing was there")),
        ("took", f"{restoration.seconds:.1f} s: {phases}"),
    )


def _say_refused(result: RestorePlan | Restoration) -> None:
    for refused in result.refused:
        click.echo(f"Refused {refused.id}: {refused.why}")
