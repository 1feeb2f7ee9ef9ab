"""`gymkhana backup keygen` and `prove-key`: the keys that open backups, and whether they still do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ci.commands.backup import options
from ci.commands.backup.shown import say_json

if TYPE_CHECKING:
    from backups.keys.keyring import Keyring


@click.command("keygen")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def keygen(file: Path) -> None:
    """Make an age identity in FILE, and print the recipient that backups are sealed to.

    Keep FILE away from the host that makes backups: it needs the recipient alone. Whoever has FILE can read every backup
    sealed to it; whoever has lost it can read none.
    """
    import os

    from backups.errors import UsageError
    from backups.keys.keyring import generate

    identity, recipient = generate()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{file} exists, and an identity is never overwritten; name another file.") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be written ({error.strerror}); name another place.") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(f"# public key: {recipient}\n{identity}\n")
        opened.flush()
        os.fsync(opened.fileno())
    click.echo(recipient)


@click.command("prove-key")
@options.stores
@options.opening
@options.as_json
def prove_key(stores: tuple[str, ...], keyring: Keyring, as_json: bool) -> None:
    """Try whether the identities at hand open the backups there are. Exits with 1 when one of them stays shut."""
    from backups.addresses import stores_at
    from backups.keeping import catalogue as catalogues

    catalogue = catalogues.read(stores_at(stores))
    envelopes = [entry.manifest.envelope for entry in catalogue.entries if entry.manifest and entry.manifest.envelope]
    tried = [
        (entry.id, keyring.prove(entry.manifest.envelope, others=envelopes) if entry.manifest.envelope else "")
        for entry in catalogue.entries
        if entry.manifest
    ]
    if as_json:
        say_json({"store": catalogue.address, "backups": [{"id": id, "ok": not why, "why": why} for id, why in tried]})
    else:
        for id, why in tried:
            click.echo(f"{id}  {why or 'opens'}")
    if any(why for _, why in tried):
        raise click.exceptions.Exit(1)
