"""Options that several backup commands take, and what they are made into."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from backups.keys.keyring import Keyring

POSITION = "operations.sequence"
"""Where the service counts what it has applied; what a backup says of how far it had come."""

Command = Callable[..., None]


def ship_socket(path: Path) -> Path:
    """Where whoever ships the log of the database at `path` is asked: GYM_SHIP, or beside the database."""
    return Path(os.environ.get("GYM_SHIP") or path.with_suffix(".runtime") / "ship.sock")


def spool_of(stores: tuple[str, ...], named: str | None) -> Path:
    """Where a server's log arrives: as named, or beside the first store that is a directory."""
    if named:
        return Path(named)
    local = next((store for store in stores if "://" not in store), "var/backups")
    return Path(f"{local}.spool")


def database(function: Command) -> Command:
    """`--database`."""
    return click.option(
        "--database",
        metavar="URL",
        envvar="DATABASE_URL",
        default="sqlite:///var/gym.db",
        help="The database, by URL or path.  [default: DATABASE_URL, or sqlite:///var/gym.db]",
    )(function)


def stores(function: Command) -> Command:
    """`--store`, as `stores`: one address or several."""
    return click.option(
        "--store",
        "stores",
        metavar="STORE",
        multiple=True,
        envvar="GYM_STORE",
        default=("var/backups",),
        help="A store that holds the backups: a directory, s3://, gs:// or az://; more than one mirror each other.  "
        "Or pgbackrest:STANZA?config=FILE.  "
        "[default: GYM_STORE, or var/backups]",
    )(function)


def as_json(function: Command) -> Command:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(function)


def position(function: Command) -> Command:
    """`--position`."""
    return click.option(
        "--position", metavar="TABLE.COLUMN", default=POSITION, show_default=True, help="What counts its progress."
    )(function)


def opening(function: Command) -> Command:
    """`--identity` and `--host-secret`, as `keyring`: what opens backups that are sealed."""

    @click.option(
        "--identity",
        "identities",
        metavar="FILE",
        multiple=True,
        envvar="GYM_IDENTITY",
        type=click.Path(path_type=Path),
        help="An age identity that opens sealed backups.  [default: GYM_IDENTITY]",
    )
    @_host_secret
    @wraps(function)
    def with_keyring(identities: tuple[Path, ...], host_secret: Path, **rest: Any) -> None:
        function(keyring=_keyring((), identities, host_secret), **rest)

    return with_keyring


def sealing(function: Command) -> Command:
    """`--recipient`, `--identity` and `--host-secret`, as `keyring`: what seals new backups, and opens old ones."""

    @click.option(
        "--recipient",
        "recipients",
        metavar="AGE1…",
        multiple=True,
        envvar="GYM_RECIPIENTS",
        help="Seal the backup to this age recipient; may be given more than once.  [default: GYM_RECIPIENTS]",
    )
    @click.option(
        "--identity",
        "identities",
        metavar="FILE",
        multiple=True,
        envvar="GYM_IDENTITY",
        type=click.Path(path_type=Path),
        help="An age identity: with it the new backup is proven to open.  [default: GYM_IDENTITY]",
    )
    @_host_secret
    @wraps(function)
    def with_keyring(recipients: tuple[str, ...], identities: tuple[Path, ...], host_secret: Path, **rest: Any) -> None:
        function(keyring=_keyring(recipients, identities, host_secret), **rest)

    return with_keyring


def _host_secret(function: Command) -> Command:
    return click.option(
        "--host-secret",
        metavar="FILE",
        envvar="GYM_HOST_SECRET",
        default="var/host.secret",
        type=click.Path(path_type=Path),
        help="This host's own secret, made when it is first needed.  [default: GYM_HOST_SECRET, or var/host.secret]",
    )(function)


def _keyring(recipients: tuple[str, ...], identities: tuple[Path, ...], host_secret: Path) -> Keyring:
    from backups.keys.keyring import Keyring

    return Keyring(recipients, identities, host_secret)
