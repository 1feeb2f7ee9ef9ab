"""`gymkhana backup pin`: what people say about keeping a backup."""

from __future__ import annotations

import click

from ci.commands.backup import options


@click.command("pin")
@click.argument("backup")
@click.option("--why", default="", help="What it is kept for.")
@click.option("--off", is_flag=True, help="Stop keeping it.")
@options.store
def pin(backup: str, why: str, off: bool, store: str) -> None:
    """Keep a backup whatever the rules of retention say, or stop keeping it."""
    from backups import catalogue as catalogues
    from backups import marks
    from backups.addresses import store_at
    from backups.clock import SYSTEM, rfc3339

    place = store_at(store)
    entry = catalogues.read(place).find(backup)
    marks.pin(place, entry.id, pinned=not off, at=rfc3339(SYSTEM.now()), why=why)
    click.echo(f"{entry.id} is {'no longer pinned' if off else 'pinned'}.")
