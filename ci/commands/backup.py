"""`gymkhana backup`: make backups, list them, prove them, restore them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from backups.catalogue import Entry
    from backups.plan import RestorePlan
    from backups.progress import Progress
    from backups.restoration import Restoration

POSITION = "operations.sequence"
"""Where the service counts what it has applied; what a backup says of how far it had come."""


def _database(function: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--database",
        metavar="URL",
        envvar="DATABASE_URL",
        default="sqlite:///var/gym.db",
        help="The database, by URL or path.  [default: DATABASE_URL, or sqlite:///var/gym.db]",
    )(function)


def _store(function: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--store",
        metavar="DIR",
        envvar="GYM_STORE",
        default="var/backups",
        help="The store that holds the backups.  [default: GYM_STORE, or var/backups]",
    )(function)


def _json(function: Callable[..., None]) -> Callable[..., None]:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(function)


@click.group("backup")
def command() -> None:
    """Back the database up, and bring it back."""


@command.command("run")
@_database
@_store
@click.option("--demo", is_flag=True, envvar="GYM_STORE_DEMO", help="Allow a store on the database's own disk.")
@click.option(
    "--position", metavar="TABLE.COLUMN", default=POSITION, show_default=True, help="What counts its progress."
)
@_json
def run(database: str, store: str, demo: bool, position: str, as_json: bool) -> None:
    """Make a backup of the running database.

    \b
    Example:
      gymkhana backup run --store /mnt/backups
    """
    from backups import catalogue as catalogues
    from backups.addresses import engine_for, store_at
    from backups.backup import run_backup

    engine = engine_for(database, position_of=position)
    place = store_at(store, make=True)
    with _shown() as progress:
        manifest = run_backup(engine, database, place, progress=progress, demonstration=demo)
    entry = catalogues.read(place).find(manifest.id)
    if as_json:
        _say_json({**_facts(entry), "store": place.address})
        return
    _say_rows(
        ("backup", manifest.id),
        ("taken", manifest.taken),
        ("database", f"{manifest.database}, {_megabytes(manifest.size_bytes)}, {manifest.facts.rows} rows"),
        ("position", _position(manifest.facts.position)),
        ("stored", f"{_megabytes(manifest.stored_bytes)} in {place.address}"),
        ("took", f"{manifest.seconds:.1f} s"),
    )
    violations = manifest.facts.foreign_key_violations
    if violations:
        click.echo(f"The database itself has {violations} foreign key violations; the backup keeps them as they are.")


@command.command("list")
@_store
@_json
def list_(store: str, as_json: bool) -> None:
    """The backups in the store, newest first, and what is known of each."""
    from backups import catalogue as catalogues
    from backups.addresses import store_at

    catalogue = catalogues.read(store_at(store))
    entries = catalogue.entries[::-1]
    if as_json:
        _say_json({"store": catalogue.address, "backups": [_facts(entry) for entry in entries]})
    elif not entries:
        click.echo(f"{catalogue.address} holds no backup yet; make one with: gymkhana backup run.")
    else:
        _say_table(
            ("BACKUP", "TAKEN", "SIZE", "STORED", "ROWS", "POSITION", "STATE"), [_row(entry) for entry in entries]
        )
        for entry in entries:
            if entry.fault:
                click.echo(f"{entry.id}: {entry.fault}")


@command.command("verify")
@click.argument("backup", required=False)
@click.option("--all", "every", is_flag=True, help="Every backup in the store, not only the newest.")
@_store
@_json
def verify(backup: str | None, every: bool, store: str, as_json: bool) -> None:
    """Prove a backup: read all of it, restore it to a scratch place, compare it with its manifest.

    BACKUP is an id; the newest one when left out. Exits with 1 when a backup is bad.
    """
    import msgspec

    from backups import catalogue as catalogues
    from backups.addresses import store_at
    from backups.verify import verify as look

    if backup and every:
        raise click.UsageError("Name one backup, or say --all, not both.")
    place = store_at(store)
    listed: list[str | None] = [entry.id for entry in catalogues.read(place).entries]
    wanted = listed if every and listed else [backup]
    with _shown() as progress:
        outcomes = [look(place, backup_id, progress=progress) for backup_id in wanted]
    if as_json:
        _say_json({"store": place.address, "verifications": msgspec.to_builtins(outcomes)})
    for outcome in () if as_json else outcomes:
        verdict = "good" if outcome.ok else f"BAD: {' '.join(outcome.findings)}"
        click.echo(f"{outcome.backup}  {verdict}  ({_megabytes(outcome.read_bytes)} read in {outcome.seconds:.1f} s)")
    if not all(outcome.ok for outcome in outcomes):
        raise click.exceptions.Exit(1)


@command.command("restore")
@_database
@_store
@click.option("--backup", metavar="ID", help="This backup and no other.  [default: the newest good one]")
@click.option("--to", metavar="PATH", help="Restore to this place instead of over the database.")
@click.option("--dry-run", is_flag=True, help="Print the plan and change nothing.")
@click.option("--yes", is_flag=True, help="Replace what is there without asking; it is kept as evidence.")
@_json
def restore(
    database: str, store: str, backup: str | None, to: str | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Put the database back from a backup, falling back to an older one when the newest is bad.

    The service must be stopped. The old files are kept beside the database as evidence.

    \b
    Examples:
      gymkhana backup restore --dry-run
      gymkhana backup restore --to /tmp/look.db
    """
    from backups.addresses import engine_for, store_at
    from backups.restoration import as_json as plain
    from backups.restore import plan_restore
    from backups.restore import restore as bring_back

    target = to or database
    engine = engine_for(target)
    place = store_at(store)
    plan = plan_restore(engine, place, target, backup=backup)
    if dry_run:
        if as_json:
            _say_json({"plan": plain(plan)})
        else:
            _say_plan(plan)
        return
    if plan.database.exists() and not yes:
        _confirm(plan)
    with _shown() as progress:
        restoration = bring_back(engine, place, target, backup=backup, progress=progress)
    if as_json:
        _say_json(plain(restoration))
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
    phases = ", ".join(f"{phase.name} {phase.end_t - phase.begin_t:.2f} s" for phase in restoration.phases)
    _say_rows(
        ("restored", str(restoration.database)),
        ("from", f"{restoration.backup}, taken {restoration.taken}"),
        ("cost", str(restoration.cost)),
        (
            "holds",
            f"{_megabytes(restoration.size_bytes)}, {restoration.rows} rows, position {_position(restoration.position)}",
        ),
        ("evidence", str(restoration.evidence or "none: nothing was there")),
        ("took", f"{restoration.seconds:.1f} s: {phases}"),
    )


def _say_refused(result: RestorePlan | Restoration) -> None:
    for refused in result.refused:
        click.echo(f"Refused {refused.id}: {refused.why}")


def _facts(entry: Entry) -> dict[str, Any]:
    """One backup as plain values; what an unreadable manifest does not tell is null."""
    manifest, facts = entry.manifest, entry.manifest.facts if entry.manifest else None
    return {
        "id": entry.id,
        "sequence": entry.sequence,
        "state": entry.state,
        "fault": entry.fault,
        "taken": manifest.taken if manifest else None,
        "taken_t": manifest.taken_t if manifest else None,
        "seconds": manifest.seconds if manifest else None,
        "engine": manifest.engine if manifest else None,
        "database": manifest.database if manifest else None,
        "size_bytes": manifest.size_bytes if manifest else None,
        "stored_bytes": manifest.stored_bytes if manifest else None,
        "rows": facts.rows if facts else None,
        "position": facts.position if facts else None,
        "revision": facts.revision if facts else None,
        "verified": [look.at for look in entry.verifications if look.ok],
    }


def _row(entry: Entry) -> tuple[str, ...]:
    manifest = entry.manifest
    if manifest is None:
        return (entry.id, "-", "-", "-", "-", "-", entry.state)
    return (
        entry.id,
        manifest.taken,
        _megabytes(manifest.size_bytes),
        _megabytes(manifest.stored_bytes),
        str(manifest.facts.rows),
        _position(manifest.facts.position),
        entry.state,
    )


def _position(position: int | None) -> str:
    return "-" if position is None else str(position)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


def _say_json(document: dict[str, Any]) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(document)))


def _say_rows(*rows: tuple[str, str]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")


def _say_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    for line in (head, *rows):
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


@contextmanager
def _shown() -> Iterator[Progress]:
    """Progress on stderr: a moving bar with the time left on a terminal, one line every ten seconds elsewhere."""
    from backups.progress import Lines

    if not sys.stderr.isatty():
        yield Lines(lambda line: click.echo(line, err=True))
        return

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        phase_shown = ""

        def show(done_bytes: int, total_bytes: int, phase: str, /) -> None:
            nonlocal phase_shown
            if phase != phase_shown:
                bar.reset(task, description=phase, total=total_bytes)
                phase_shown = phase
            bar.update(task, completed=done_bytes, total=total_bytes)

        yield show
