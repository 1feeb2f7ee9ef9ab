"""`gymkhana backup pin` and `resync`: what is kept, and where."""

from __future__ import annotations

import click

from ci.commands.backup import options


@click.command("resync")
@options.stores
@options.as_json
def resync(stores: tuple[str, ...], as_json: bool) -> None:
    """Copy to each store what it lacks and another one has, as after a store was away. Exits with 1 while one still is."""
    from backups.addresses import stores_at
    from backups.mirrored import MirroredStore
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
    from backups import catalogue as catalogues
    from backups import marks
    from backups.addresses import stores_at
    from backups.clock import SYSTEM, rfc3339

    place = stores_at(stores)
    entry = catalogues.read(place).find(backup)
    marks.pin(place, entry.id, pinned=not off, at=rfc3339(SYSTEM.now()), why=why)
    click.echo(f"{entry.id} is {'no longer pinned' if off else 'pinned'}.")
