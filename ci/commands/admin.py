"""`gymkhana admin`: the accounts of the admin part, by whoever holds the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

ROLES = ("viewer", "operator", "admin")
LONGEST_FILE = 4096


def _database(function: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--database", metavar="URL", help="The service's database.  [default: DATABASE_URL, or var/gym.db]"
    )(function)


def _json(function: Callable[..., None]) -> Callable[..., None]:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(function)


def _password(function: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--password-file",
        type=click.Path(dir_okay=False),
        help="Take the password from this file, - for standard input, instead of asking for it twice.",
    )(function)


@click.group("admin")
def command() -> None:
    """Make the accounts of the admin part, list them, disable them.

    There is no account and no password until one is made here. A password is asked for on the terminal, or read from
    standard input or a file: never from the command line, which everybody on the machine can read.

    \b
    Examples:
      gymkhana admin create ann --role admin
      gymkhana admin create bot --role viewer --password-file /run/secrets/bot
      gymkhana admin list
    """


@command.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the account may do.")
@_password
@_database
@_json
def create(name: str, role: str, password_file: str | None, database: str | None, as_json: bool) -> None:
    """Make an account.

    \b
    Example:
      gymkhana admin create ann --role admin
    """
    from system.admin import console
    from system.admin.credentials import checked_name

    url = _url(database)
    _said_plainly(lambda: checked_name(name))  # before anybody has typed a password twice
    made = _said_plainly(lambda: console.create(url, name, role, _asked(password_file)))
    _tell(made, as_json, f"{name} may sign in as {role} at /admin.")


@command.command("list")
@_database
@_json
def list_(database: str | None, as_json: bool) -> None:
    """List the accounts.

    \b
    Example:
      gymkhana admin list --json
    """
    from datetime import UTC, datetime

    from system.admin import console

    found = console.accounts(_url(database))
    lines = [
        f"{one['name']:<40}  {one['role']:<8}  {'active' if one['disabled_ms'] is None else 'disabled':<8}  "
        f"made {datetime.fromtimestamp(one['created_ms'] / 1000, UTC):%Y-%m-%d %H:%M} UTC"
        for one in found
    ]
    _tell({"accounts": found}, as_json, "\n".join(lines) or "There is no account; make one: gymkhana admin create.")


@command.command("disable")
@click.argument("name")
@_database
@_json
def disable(name: str, database: str | None, as_json: bool) -> None:
    """Let nobody sign in to an account any more; its sessions and tokens end at once.

    \b
    Example:
      gymkhana admin disable ann
    """
    from system.admin import console

    _tell(console.disable(_url(database), name), as_json, f"{name} is disabled; its sessions and tokens have ended.")


@command.command("enable")
@click.argument("name")
@_database
@_json
def enable(name: str, database: str | None, as_json: bool) -> None:
    """Let an account sign in again.

    \b
    Example:
      gymkhana admin enable ann
    """
    from system.admin import console

    _tell(console.enable(_url(database), name), as_json, f"{name} may sign in again.")


@command.command("reset-password")
@click.argument("name")
@_password
@_database
@_json
def reset_password(name: str, password_file: str | None, database: str | None, as_json: bool) -> None:
    """Give an account a new password; its sessions end at once.

    \b
    Example:
      gymkhana admin reset-password ann
    """
    from system.admin import console

    url = _url(database)
    done = _said_plainly(lambda: console.reset_password(url, name, _asked(password_file)))
    _tell(done, as_json, f"{name} has a new password, and no session any more.")


def _url(database: str | None) -> str:
    from system.database import is_sqlite, sqlite_path
    from system.settings import settings

    url = database or settings().database_url
    try:
        if is_sqlite(url):
            sqlite_path(url)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    return url


def _asked(file: str | None) -> str:
    """The password: from a file or standard input without the end of its line, or typed twice at a terminal."""
    import sys
    from pathlib import Path

    if file is None and sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt="Again", err=True)
        return typed
    try:
        given = sys.stdin.buffer.read(LONGEST_FILE) if file in (None, "-") else Path(str(file)).read_bytes()
        return given[:LONGEST_FILE].decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise click.UsageError(f"The password file {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise click.UsageError("The password is not UTF-8.") from error


def _said_plainly(work: Callable[[], Any]) -> Any:
    """What the work gives; what it refuses of the request is a usage error."""
    from system.errors import Invalid

    try:
        return work()
    except Invalid as error:
        raise click.UsageError(error.message) from error


def _tell(document: Any, as_json: bool, words: str) -> None:
    import json

    click.echo(json.dumps(document, ensure_ascii=False) if as_json else words)
