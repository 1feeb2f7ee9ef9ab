"""`gymkhana seed`: a population to rehearse with."""

from __future__ import annotations

import click


@click.command("seed")
@click.option("--users", type=click.IntRange(2, 100_000), default=1000, show_default=True, help="Players.")
@click.option("--tournaments", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Open tournaments.")
@click.option(
    "--matches", type=click.IntRange(0, 100_000), default=1000, show_default=True, help="Matches being played."
)
@click.option("--population", "file", type=click.Path(dir_okay=False), required=True, help="Where names and tokens go.")
@click.option("--database", metavar="URL", help="The database to fill.  [default: DATABASE_URL, or var/gym.db]")
@click.option("--seed", type=int, default=7, show_default=True, help="Repeats every random choice but the secrets.")
@click.option("--run", default="seed", show_default=True, help="The run the population is for.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def command(
    users: int, tournaments: int, matches: int, file: str, database: str | None, seed: int, run: str, as_json: bool
) -> None:
    """Put players, tournaments and matches into an empty database.

    The population file holds names, one password for all, and a session token each: everything a load tool needs to play
    them. Only you can read it.

    \b
    Example:
      gymkhana seed --users 1000 --population var/population.json
    """
    import time
    from pathlib import Path

    import msgspec

    from system import seed as seeding
    from system.database import engine_for, is_sqlite, sqlite_path
    from system.schema import check_schema
    from system.settings import settings

    url = database or settings().database_url
    try:
        if is_sqlite(url):
            sqlite_path(url)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    if not Path(file).parent.is_dir():
        raise click.UsageError(
            f"There is no directory {Path(file).parent} to write the population into; make it first."
        )
    check_schema(url)
    engine = engine_for(url, writer=True)
    try:
        population = seeding.seed(
            engine,
            users_count=users,
            tournaments_count=tournaments,
            matches_count=matches,
            run=run,
            seed=seed,
            now_ms=time.time_ns() // 1_000_000,
        )
    finally:
        engine.dispose()
    seeding.write_population(population, Path(file))
    told = {"users": users, "tournaments": tournaments, "matches": len(population.matches), "population": file}
    click.echo(
        msgspec.json.encode(told).decode()
        if as_json
        else f"{users} users, {tournaments} tournaments, {len(population.matches)} matches; tokens are in {file}"
    )
