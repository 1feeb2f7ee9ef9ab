"""`gymkhana serve`: the service, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import click


@click.command("serve")
@click.option("--database", metavar="URL", help="The database to serve.  [default: DATABASE_URL, or var/gym.db]")
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: GYM_HOST, or 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: GYM_PORT, or 8080]")
@click.option("--server", type=click.Choice(["granian", "uvicorn"]), help="HTTP server.  [default: granian]")
@click.option("--workers", type=click.IntRange(1, 64), help="HTTP processes that share the port.  [default: 1]")
@click.option("--runtime", type=click.Path(file_okay=False), metavar="DIR", help="Where its processes meet.")
@click.option(
    "--backup-to",
    "stores",
    metavar="STORE",
    multiple=True,
    help="Ship the database's log there, beside the service; more than one mirror each other.",
)
@click.option("--sync", is_flag=True, help="With --backup-to: answer a write only once its log is durable there.")
@click.option(
    "--recipient", "recipients", metavar="AGE1…", multiple=True, help="With --backup-to: seal what is shipped."
)
@click.option("--demo", is_flag=True, envvar="GYM_STORE_DEMO", help="Allow a store on the database's own disk.")
def command(
    database: str | None,
    host: str | None,
    port: int | None,
    server: str | None,
    workers: int | None,
    runtime: str | None,
    stores: tuple[str, ...],
    sync: bool,
    recipients: tuple[str, ...],
    demo: bool,
) -> None:
    """Serve the gym platform.

    The database must be at the code's schema (`gymkhana migrate up`). SIGTERM and Ctrl-C drain: what was accepted is
    answered, what comes later is refused.

    With --backup-to the log is shipped twice a second by a process of its own, and a restore reaches the last commit that
    was shipped. With --sync as well no acknowledged write can be lost with the machine, at the price of one round to the
    store for each group of writes (`gymkhana_ship_seconds` in /metrics); while the store is away every write is answered as
    unknown.

    \b
    Examples:
      gymkhana serve --database sqlite:////srv/gym/gym.db --port 8080
      gymkhana serve --backup-to s3://backups/gym --sync
    """
    import os
    import sys

    from backups.swap import require_whole
    from system.database import is_sqlite, sqlite_path
    from system.schema import check_schema
    from system.server import port_is_free
    from system.settings import Settings

    given = {
        "DATABASE_URL": database,
        "GYM_HOST": host,
        "GYM_PORT": port,
        "GYM_SERVER": server,
        "GYM_WORKERS": workers,
        "GYM_RUNTIME": runtime,
    }
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    try:
        config = Settings()
        files = (sqlite_path(config.database_url),) if is_sqlite(config.database_url) else ()
    except ValueError as error:
        raise click.UsageError(_first_line(error)) from error
    if stores and not files:
        raise click.UsageError(
            "--backup-to ships SQLite's log; a PostgreSQL server's is shipped from beside that server."
        )
    for file in files:
        require_whole(file)
    check_schema(config.database_url)
    if not port_is_free(config.host, config.port):
        raise click.UsageError(f"Port {config.port} on {config.host} is taken; free it or choose another with --port.")
    # The supervisor replaces this process: same pid, and none of what was imported to check the configuration.
    meeting = str(config.runtime_directory())
    os.environ["GYM_RUNTIME"] = meeting
    shipped = _prepare_shipping(meeting, stores, recipients, sync=sync, demo=demo)
    sys.stdout.flush()
    supervisor = [sys.executable, "-m", "system.supervisor", "--runtime", meeting]
    os.execv(sys.executable, [*supervisor, *(["--child", "log=backups.log.watch"] if shipped else [])])  # noqa: S606


def _prepare_shipping(
    meeting: str, stores: tuple[str, ...], recipients: tuple[str, ...], *, sync: bool, demo: bool
) -> bool:
    """Whether the log is to be shipped; the environment of the service's processes says how, then."""
    import os

    from backups.addresses import stores_at
    from ci.commands.backup.options import POSITION

    if not stores:
        if sync or recipients:
            raise click.UsageError("--sync and --recipient say how to ship the log; say where with --backup-to.")
        return False
    stores_at(stores, make=demo)
    os.environ.update(
        {
            "GYM_SHIP": f"{meeting}/ship.sock",
            "GYM_SHIP_MODE": "sync" if sync else "async",
            "GYM_SHIP_POSITION_OF": POSITION,
            "GYM_SHIP_DEMONSTRATION": "1" if demo else "",
            "GYM_STORE": " ".join(stores),
            "GYM_RECIPIENTS": " ".join(recipients) or os.environ.get("GYM_RECIPIENTS", ""),
            "GYM_HOST_SECRET": os.environ.get("GYM_HOST_SECRET", "var/host.secret"),
        }
    )
    return True


def _first_line(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    first = errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
