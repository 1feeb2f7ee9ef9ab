"""`gymkhana drill`: rehearse a disaster, or judge a rehearsal again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ci.drills import Database

RUNS = "var/runs"

_runs = click.option(
    "--runs",
    type=click.Path(file_okay=False),
    default=RUNS,
    envvar="GYM_RUNS_DIR",
    help="Where runs are kept, for the board too.  [default: GYM_RUNS_DIR, or var/runs]",
)


@click.group("drill")
def command() -> None:
    """Break the service under load, bring it back, and prove what was lost."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def list_(as_json: bool) -> None:
    """The drills there are."""
    import msgspec

    from ci.drills import EVERY

    if as_json:
        drills = [{"name": drill.name, "title": drill.title, "response": drill.response} for drill in EVERY.values()]
        click.echo(msgspec.json.format(msgspec.json.encode({"drills": drills})))
        return
    width = max(map(len, EVERY))
    for drill in EVERY.values():
        click.echo(f"{drill.name:<{width}}  {drill.title}")


@command.command("run")
@click.argument("drills", nargs=-1, required=True, metavar="DRILL...")
@click.option("--users", type=click.IntRange(1, 20_000), default=1000, show_default=True, help="Concurrent users.")
@click.option("--seed", type=int, default=7, show_default=True, help="Repeats every random choice.")
@click.option("--quick", is_flag=True, help="Shorter stretches: a demonstration, not a measurement.")
@click.option(
    "--tool", type=click.Choice(["locust", "k6", "jmeter"]), default="locust", show_default=True, help="Load generator."
)
@click.option(
    "--database",
    type=click.Choice(["sqlite", "postgres"]),
    default="sqlite",
    show_default=True,
    help="What the service is served from: a server of the drill's own is made for postgres.",
)
@_runs
@click.option("--scenario", type=click.Path(dir_okay=False, exists=True), help="Scenario file.  [default: gym-day]")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def run(
    drills: tuple[str, ...],
    users: int,
    seed: int,
    quick: bool,
    tool: str,
    database: Database,
    runs: str,
    scenario: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run drills, each on a stand of its own; `all` is the disasters, `backups` those of the backups themselves.

    With --database postgres, `all` has three more that only a server can meet, and `server` is what else one can do.

    On PostgreSQL `pgbackrest` is what an operator of pgBackRest rehearses, where that program is here.

    \b
    Examples:
      gymkhana drill run all
      gymkhana drill run crash lost-database --users 100 --quick
      gymkhana drill run server --database postgres

    Exits with 0 when everything gated passed, 1 when something failed, 3 when something could not be told. Where
    GYM_STATUS_DIR names a directory, it is told there how each went, for the service's alerts.
    """
    from pathlib import Path

    from ci import status_directory
    from ci.drills import full_pace, quick_pace
    from ci.suite import Suite, chosen, require_programs
    from loadtests.scenario import GYM_DAY

    wanted = chosen(drills, database)
    require_programs(wanted)
    pace = quick_pace(users) if quick else full_pace(users)
    suite = Suite(wanted, pace, seed, Path(runs), Path(scenario or GYM_DAY), tool, database, status_directory.named())
    if dry_run:
        click.echo(suite.plan())
        return
    raise click.exceptions.Exit(suite.run(as_json=as_json))


@command.command("judge")
@click.argument("run", metavar="RUN")
@_runs
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def judge(run: str, runs: str, as_json: bool) -> None:
    """Judge a stored run again, from its raw files.

    RUN is a directory or the id of one under --runs. Everything from the checker on is redone: run.json, report, JUnit.
    """
    from pathlib import Path

    from ci.suite import find_run, judge_again

    raise click.exceptions.Exit(judge_again(find_run(run, Path(runs)), as_json=as_json))
