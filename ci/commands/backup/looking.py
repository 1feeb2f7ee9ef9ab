"""`gymkhana backup list`, `show`, `timeline` and `verify`: what there is, and what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ci.commands.backup import options
from ci.commands.backup.shown import facts_of, megabytes, row, say_json, say_table, shown

if TYPE_CHECKING:
    from backups.keys.keyring import Keyring


@click.command("list")
@options.stores
@options.as_json
def list_(stores: tuple[str, ...], as_json: bool) -> None:
    """The backups in the store, newest first, and what is known of each."""
    from backups.keys.keyring import Keyring
    from backups.vaults import vault_at

    vault = vault_at(stores, Keyring.plain())
    entries = vault.kept()[::-1]
    if as_json:
        backups = [facts_of(entry) for entry in entries]
        say_json({"store": vault.address, "backups": backups, "staging": list(vault.staging())})
    elif not entries:
        click.echo(f"{vault.address} holds no backup yet; make one with: gymkhana backup run.")
    else:
        head = ("BACKUP", "KIND", "TAKEN", "SIZE", "STORED", "ROWS", "POSITION", "STATE")
        say_table(head, [row(entry) for entry in entries])
        for entry in entries:
            if entry.fault:
                click.echo(f"{entry.id}: {entry.fault}")


@click.command("show")
@click.argument("backup", required=False)
@options.stores
@options.as_json
def show(backup: str | None, stores: tuple[str, ...], as_json: bool) -> None:
    """Everything that is known of one backup: what it is, what it builds on, and each look that was taken at it.

    BACKUP is an id; the newest one when left out.
    """
    import msgspec

    from backups.addresses import stores_at
    from backups.errors import NoSuchBackup
    from backups.keeping import catalogue as catalogues
    from ci.commands.backup.shown import say_rows

    catalogue = catalogues.read(stores_at(stores))
    entry = catalogue.find(backup) if backup else catalogue.newest
    if entry is None:
        raise NoSuchBackup(f"{catalogue.address} holds no backup yet; make one with: gymkhana backup run.")
    facts = facts_of(entry)
    if as_json:
        looks = msgspec.to_builtins(entry.verifications)
        manifest = msgspec.to_builtins(entry.manifest) if entry.manifest else None
        say_json({**facts, "verifications": looks, "manifest": manifest})
        return
    hidden = ("verified", "taken_t")
    say_rows(
        *((name.replace("_", " "), str(value)) for name, value in facts.items() if name not in hidden and value != "")
    )
    for look in entry.verifications:
        found = "good" if look.ok else f"BAD: {' '.join(look.findings)}"
        unseen = f" Not seen: {' '.join(look.unseen)}" if look.unseen else ""
        click.echo(f"level {look.level}  {look.at}  {found}{unseen}")


@click.command("timeline")
@click.option(
    "--check", is_flag=True, help="Read every byte of the log too; else damage inside a segment does not show."
)
@options.stores
@options.opening
@options.as_json
def timeline(check: bool, stores: tuple[str, ...], keyring: Keyring, as_json: bool) -> None:
    """What the store can be restored to: from when to when, the gaps, and why.

    Newest first. A solid line is a stretch of time of which every instant can be given to `restore --to-time`, and every
    position to `restore --to-position`; a dot is a backup alone, for `restore --backup`.
    """
    from backups.addresses import stores_at
    from backups.clock import SYSTEM
    from backups.log import timeline as timelines
    from ci.commands.backup.drawn import draw, plain

    place = stores_at(stores)
    found = timelines.read(place, keyring, prove=check)
    now = SYSTEM.now()
    if as_json:
        say_json({"store": place.address, **plain(found, now)})
        return
    for line in draw(found, place.address, now):
        click.echo(line)


@click.command("verify")
@click.argument("backup", required=False)
@click.option("--all", "every", is_flag=True, help="Every backup in the store, not only the newest.")
@click.option("--level", type=click.IntRange(0, 5), default=4, show_default=True, help="How thorough to be.")
@options.database
@options.stores
@options.opening
@options.as_json
def verify(
    backup: str | None,
    every: bool,
    level: int,
    database: str,
    stores: tuple[str, ...],
    keyring: Keyring,
    as_json: bool,
) -> None:
    """Prove a backup, as thoroughly as is asked for. Exits with 1 when one is bad.

    BACKUP is an id; the newest one when left out.

    \b
      level 0   its manifest and those it builds on: readable, authentic, none missing
      level 1   every object is there, with its size
      level 2   the hash of every object not looked at before, and of a sample of the others
      level 3   every stored byte read and hashed; with the key, opened too
      level 4   restored to a scratch place, and checked there by the engine
      level 5   a service booted on that, and what it shows compared with what storage holds
    """
    import msgspec

    from backups.vaults import vault_at

    if backup and every:
        raise click.UsageError("Name one backup, or say --all, not both.")
    vault = vault_at(stores, keyring, database=database)
    listed: list[str | None] = [entry.id for entry in vault.kept()]
    wanted = listed if every and listed else [backup]
    boot = None
    if level == 5:
        from ci.rehearsal import Rehearsal

        boot = Rehearsal()
    with shown(as_json) as progress:
        outcomes = [vault.verify(backup_id, level=level, boot=boot, progress=progress) for backup_id in wanted]
    if as_json:
        say_json({"store": vault.address, "verifications": msgspec.to_builtins(outcomes)})
    for outcome in () if as_json else outcomes:
        verdict = "good" if outcome.ok else f"BAD: {' '.join(outcome.findings)}"
        read = f"level {outcome.level}, {megabytes(outcome.read_bytes)} read in {outcome.seconds:.1f} s"
        click.echo(f"{outcome.backup}  {verdict}  ({read})")
        for unseen in outcome.unseen:
            click.echo(f"  not seen: {unseen}")
    if not all(outcome.ok for outcome in outcomes):
        raise click.exceptions.Exit(1)
