"""`gymkhana migrate`: bring a database's schema up to date, or back, with a proven backup to return to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from migrations.line import Revision

Move = Callable[[Callable[["Revision"], None]], "Sequence[Revision]"]


class MigrationStopped(Exception):
    """A migration did not get to its end: where the database is now, and how to get back."""

    exit_code = 1


def _database(function: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--database",
        metavar="URL",
        envvar="DATABASE_URL",
        show_default="DATABASE_URL; with GYM_ENV=dev, sqlite:///var/gym.db",
        help="The database, by URL or path.",
    )(function)


def _backup(function: Callable[..., None]) -> Callable[..., None]:
    demo = click.option(
        "--demo", is_flag=True, envvar="GYM_STORE_DEMO", help="Allow a store on the database's own disk."
    )
    none = click.option("--no-backup", is_flag=True, help="Go on without one: somebody else backs this database up.")
    store = click.option(
        "--store",
        metavar="DIR",
        envvar="GYM_STORE",
        default="var/backups",
        show_default="GYM_STORE, or var/backups",
        help="Where the backup goes that is made first.",
    )
    return store(demo(none(function)))


def _dry_run(function: Callable[..., None]) -> Callable[..., None]:
    return click.option("--dry-run", is_flag=True, help="Print the statements, and change nothing.")(function)


def _json(function: Callable[..., None]) -> Callable[..., None]:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(function)


@click.group("migrate")
def command() -> None:
    """Bring a database's schema up to date, or back.

    GYM_ENV=dev (the default) works on var/gym.db, which is made when it is not there. GYM_ENV=prod has no default and makes
    no directory: DATABASE_URL must name the database.
    """


@command.command("up")
@click.argument("revision", default="head")
@_database
@_backup
@_dry_run
@_json
def up(
    revision: str, database: str | None, store: str, demo: bool, no_backup: bool, dry_run: bool, as_json: bool
) -> None:
    """Apply what is missing, up to REVISION if one is named.

    A database that holds data is backed up first, and the backup is proven by restoring it. Each revision is one
    transaction.

    \b
    Examples:
      gymkhana migrate up --dry-run
      gymkhana migrate up --store /mnt/backups
    """
    from migrations import revisions
    from migrations.line import line, way_up

    url = _url(database)
    found = revisions.current(url)
    way = way_up(line(), found, revision)
    if dry_run:
        _say_plan(url, found, way, revisions.sql(url, found, revision), as_json)
        return
    _make_place(url)
    _migrate(
        url,
        way,
        None if no_backup else store,
        demo,
        as_json,
        lambda told: revisions.upgrade(url, revision, told),
        rising=True,
    )


@command.command("down")
@click.argument("revision", metavar="REVISION")
@_database
@_backup
@_dry_run
@_json
def down(
    revision: str, database: str | None, store: str, demo: bool, no_backup: bool, dry_run: bool, as_json: bool
) -> None:
    """Undo everything after REVISION; `base` undoes all. What only the newer schema holds is lost.

    A database that holds data is backed up first, and the backup is proven by restoring it.

    \b
    Examples:
      gymkhana migrate down 0001 --dry-run
      gymkhana migrate down 0001
    """
    from migrations import revisions
    from migrations.line import line, way_down

    url = _url(database)
    found = revisions.current(url)
    way = way_down(line(), found, revision)
    if dry_run:
        _say_plan(url, found, way, revisions.sql(url, found, revision), as_json)
        return
    _migrate(
        url, way, None if no_backup else store, demo, as_json, lambda told: revisions.downgrade(url, revision, told)
    )


@command.command("status")
@_database
@_json
def status(database: str | None, as_json: bool) -> None:
    """Where the database stands, and what is still to come."""
    from migrations import revisions
    from migrations.line import line, way_up

    url = _url(database)
    found = revisions.current(url)
    pending = way_up(line(), found)
    if as_json:
        _say_json({"database": shown(url), "revision": found, "head": line()[-1].id, "pending": _plain(pending)})
        return
    click.echo(f"database  {shown(url)}")
    click.echo(f"revision  {found or 'none'} of {line()[-1].id}")
    for one in pending:
        click.echo(f"pending   {one.id}  {one.title}")


@command.command("check")
@_database
@_json
def check(database: str | None, as_json: bool) -> None:
    """Compare the schema with what the code expects.

    Exits with 1 when they differ.
    """
    from migrations import revisions

    url = _url(database)
    found = revisions.check(url)
    if as_json:
        _say_json({"database": shown(url), "ok": not found, "differences": found})
    else:
        for difference in found:
            click.echo(difference)
        if not found:
            click.echo("The schema is what the code expects.")
    raise click.exceptions.Exit(1 if found else 0)


@command.command("history")
@_json
def history(as_json: bool) -> None:
    """Every revision there is, oldest first."""
    from migrations.line import line

    if as_json:
        _say_json({"revisions": _plain(line())})
        return
    for one in line():
        click.echo(f"{one.id}  {one.title}")


def _url(database: str | None) -> str:
    """The database meant, as a URL. A path is SQLite's."""
    import os

    from sqlalchemy.exc import ArgumentError

    from system.database import is_sqlite, sqlite_path
    from system.settings import DEFAULT_DATABASE_URL

    environment = os.environ.get("GYM_ENV", "dev")
    if environment not in ("dev", "prod"):
        raise click.UsageError(f"GYM_ENV is {environment!r}; it must be dev or prod.")
    if not database:
        if environment == "prod":
            raise click.UsageError(
                "With GYM_ENV=prod no database is assumed; name it in DATABASE_URL or with --database."
            )
        database = DEFAULT_DATABASE_URL
    url = database if "://" in database else f"sqlite:///{database}"
    try:
        return f"sqlite:///{sqlite_path(url)}" if is_sqlite(url) else url
    except (ValueError, ArgumentError) as error:
        raise click.UsageError(f"{error}.") from error


def _make_place(url: str) -> None:
    """Makes the database's directory, unless this is production, where a missing one is a typing mistake."""
    import os

    from system.database import is_sqlite, sqlite_path

    if not is_sqlite(url):
        return
    place = sqlite_path(url).parent
    if os.environ.get("GYM_ENV") == "prod" and not place.is_dir():
        raise click.UsageError(f"There is no directory {place}; make it, or correct the database's URL.")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"The directory {place} cannot be made: {error.strerror}.") from error


def _migrate(
    url: str,
    way: Sequence[Revision],
    store: str | None,
    demo: bool,
    as_json: bool,
    move: Move,
    *,
    rising: bool = False,
) -> None:
    """Backs up unless there is no store, moves, and says so; no other migrator has a SQLite database while it lasts."""
    from migrations import revisions

    done: Sequence[Revision] = ()
    backup = None
    if way:
        with _alone(url, bearable=len(way) == 1 and rising):
            backup = _proven_backup(url, store, demo) if store and revisions.holds_data(url) else None
            done = _moved(url, store, backup, move)
    now = revisions.current(url)
    if as_json:
        _say_json({"database": shown(url), "revision": now, "moved": _plain(done), "backup": backup, "store": store})
    elif not done:
        click.echo(f"{_named(url)} is at {now or 'base'} already; nothing was done.")
    else:
        click.echo(f"{_named(url)} is at {now or 'base'}, after {', '.join(one.id for one in done)}.")
        if backup and store:
            click.echo(f"It can be put back as it was with: {_way_back(url, store, backup)}")


@contextmanager
def _alone(url: str, *, bearable: bool) -> Iterator[None]:
    """Nobody else migrates a SQLite database while the block runs. Raises Locked or InUse, naming who does.

    A service may go on meanwhile when the way is one that it can bear: one revision up. On PostgreSQL each revision takes a
    lock of its own.
    """
    from backups.errors import InUse
    from backups.lock import hold
    from backups.sqlite.holders import holders_of
    from system.database import is_sqlite, sqlite_path

    if not is_sqlite(url):
        yield
        return
    path = sqlite_path(url)
    with hold(path.with_name(f"{path.name}.migrating"), f"migration of {path.name}"):
        holders = holders_of([path, path.with_name(f"{path.name}-wal")])
        if holders and not bearable:
            raise InUse(
                f"{path} is open in {', '.join(map(str, holders))}; stop that first, then migrate, or go up one revision "
                "at a time, naming it, each of which the service of the one before can live with."
            )
        yield


def _proven_backup(url: str, store: str, demo: bool) -> str:
    """The id of a backup made now and found good. Raises MigrationStopped when it is not."""
    from backups.addresses import engine_for, store_at
    from backups.backup import run_backup
    from backups.verify import verify
    from ci.commands.backup import POSITION

    place = store_at(store, make=True)
    manifest = run_backup(engine_for(url, position_of=POSITION), url, place, demonstration=demo)
    click.echo(f"backed up as {manifest.id} in {place.address}", err=True)
    outcome = verify(place, manifest.id)
    if not outcome.ok:
        raise MigrationStopped(
            f"The backup {manifest.id} is bad ({' '.join(outcome.findings)}); nothing was migrated. "
            "Look at the store's disk, or name another with --store."
        )
    click.echo(f"proven by restoring it: {manifest.facts.rows} rows", err=True)
    return manifest.id


def _moved(url: str, store: str | None, backup: str | None, move: Move) -> Sequence[Revision]:
    """Moves, telling of each revision. Raises MigrationStopped with the way back when one fails."""
    from migrations import revisions
    from migrations.errors import MigrationError

    try:
        return move(lambda revision: click.echo(f"moved across {revision.id}: {revision.title}", err=True))
    except MigrationError as error:
        said = f"{error} The database is at {revisions.current(url) or 'base'}, whole"
        if backup and store:
            said += f"; to put it back as it was: {_way_back(url, store, backup)}"
        raise MigrationStopped(f"{said}.") from error


def _way_back(url: str, store: str, backup: str) -> str:
    import shlex

    return shlex.join(["gymkhana", "backup", "restore", "--database", shown(url), "--store", store, "--backup", backup])


def _named(url: str) -> str:
    from system.database import shown as named

    return named(url)


def shown(url: str) -> str:
    """A SQLite database's URL as it is, another one without its password."""
    from sqlalchemy import make_url

    return make_url(url).render_as_string(hide_password=True)


def _plain(revisions: Sequence[Revision]) -> list[dict[str, str]]:
    return [{"id": one.id, "title": one.title} for one in revisions]


def _say_plan(url: str, found: str | None, way: Sequence[Revision], sql: str, as_json: bool) -> None:
    if as_json:
        _say_json({"database": shown(url), "revision": found, "would_move": _plain(way), "sql": sql if way else ""})
    elif way:
        click.echo(sql, nl=False)
    else:
        click.echo(f"{_named(url)} is at {found or 'base'} already; nothing would be done.")


def _say_json(document: dict[str, Any]) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(document)))
