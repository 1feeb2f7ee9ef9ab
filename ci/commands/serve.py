"""`gymkhana serve`: the service, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import click


@click.command("serve")
@click.option("--database", metavar="URL", help="The database to serve.  [default: DATABASE_URL, or var/gym.db]")
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [default: GYM_HOST, or 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: GYM_PORT, or 8080]")
@click.option("--server", type=click.Choice(["granian", "uvicorn"]), help="HTTP server.  [default: granian]")
@click.option("--runtime", type=click.Path(file_okay=False), metavar="DIR", help="Where its processes meet.")
def command(database: str | None, host: str | None, port: int | None, server: str | None, runtime: str | None) -> None:
    """Serve the gym platform.

    The database must be at the code's schema (`gymkhana migrate up`). SIGTERM and Ctrl-C drain: what was accepted is
    answered, what comes later is refused.

    \b
    Example:
      gymkhana serve --database sqlite:////srv/gym/gym.db --port 8080
    """
    import os
    import sys

    from system.database import sqlite_path
    from system.schema import check_schema
    from system.server import port_is_free
    from system.settings import Settings

    given = {"DATABASE_URL": database, "GYM_HOST": host, "GYM_PORT": port, "GYM_SERVER": server, "GYM_RUNTIME": runtime}
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    try:
        config = Settings()
        sqlite_path(config.database_url)
    except ValueError as error:
        raise click.UsageError(_first_line(error)) from error
    check_schema(config.database_url)
    if not port_is_free(config.host, config.port):
        raise click.UsageError(f"Port {config.port} on {config.host} is taken; free it or choose another with --port.")
    # The supervisor replaces this process: same pid, and none of what was imported to check the configuration.
    meeting = str(config.runtime_directory())
    os.environ["GYM_RUNTIME"] = meeting
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "system.supervisor", "--runtime", meeting])  # noqa: S606


def _first_line(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    first = errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
