"""`gymkhana backup rehearse`: the highest level of verification, as an operator does it now and then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ci.commands.backup import options
from ci.commands.backup.shown import megabytes, say_json, say_rows, shown

if TYPE_CHECKING:
    from backups.format.verification import Verification
    from backups.keys.keyring import Keyring
    from ci.rehearsal import Rehearsal


@click.command("rehearse")
@click.argument("backup", required=False)
@click.option(
    "--if-older", metavar="TIME", help="Only if no backup was rehearsed for so long; else say when, exit with 0."
)
@click.option(
    "--in",
    "place",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to restore it to.  [default: the scratch of the store]",
)
@options.stores
@options.opening
@options.as_json
def rehearse(
    backup: str | None,
    if_older: str | None,
    place: Path | None,
    stores: tuple[str, ...],
    keyring: Keyring,
    as_json: bool,
) -> None:
    """Restore a backup elsewhere, boot a service on it, and compare what it shows with what storage holds.

    BACKUP is an id; the newest one when left out. Nothing of the running service is touched. What was found is appended to
    the store, with the time it took. Exits with 1 when the backup is bad.

    \b
    Examples:
      gymkhana backup rehearse --store /mnt/backups --identity recovery.key
      gymkhana backup rehearse --if-older 7d
    """
    from backups.addresses import stores_at
    from backups.clock import SYSTEM
    from backups.errors import KeyMissing
    from backups.keeping import catalogue as catalogues
    from backups.keeping.schedule import duration, rehearsed_since
    from backups.verify import verify
    from ci.rehearsal import Rehearsal

    store = stores_at(stores)
    since = rehearsed_since(catalogues.read(store).entries, duration(if_older), SYSTEM.now()) if if_older else None
    if since:
        if as_json:
            say_json({"store": store.address, "rehearsed": None, "since": since})
        else:
            click.echo(f"Not due: a backup was rehearsed at {since}.")
        return
    boot = Rehearsal()
    with shown(as_json) as progress:
        outcome = verify(store, backup, level=5, keyring=keyring, boot=boot, place=place, progress=progress)
    if outcome.ok and outcome.level < 5:
        raise KeyMissing(f"{outcome.backup} was not rehearsed. {' '.join(outcome.unseen)}")
    _say(outcome, boot, store.address, as_json)
    if not outcome.ok:
        raise click.exceptions.Exit(1)


def _say(outcome: Verification, boot: Rehearsal, store: str, as_json: bool) -> None:
    import msgspec

    if as_json:
        served = {"serving_s": boot.serving_s, "reads": boot.reads, "digests": boot.digests, "migrated": boot.migrated}
        say_json({"store": store, "rehearsed": msgspec.to_builtins(outcome), **served})
        return
    say_rows(
        ("rehearsed", outcome.backup),
        ("found", "good" if outcome.ok else f"BAD: {' '.join(outcome.findings)}"),
        ("read", megabytes(outcome.read_bytes)),
        *(
            (("migrated", f"the copy, across {', '.join(boot.migrated)}: it is older than this code"),)
            if boot.migrated
            else ()
        ),
        *(
            (("served", f"{boot.serving_s:.1f} s after its start; {boot.reads} reads compared, one write read back"),)
            if boot.serving_s is not None
            else ()
        ),
        ("took", f"{outcome.seconds:.1f} s"),
    )
