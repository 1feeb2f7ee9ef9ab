"""`gymkhana load`: plays a scenario with one of the load tools, and judges it from the ledger."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from loadtests.assessment import Assessment
    from loadtests.measure import Figures
    from loadtests.plan import LoadPlan
    from loadtests.scenario import Scenario
    from loadtests.service_levels import Judged
    from loadtests.tools import RunningLoad

EXIT_CODES = {"pass": 0, "fail": 1, "unknown": 3}
LIVE_INTERVAL_S = 1.0
QUIET_INTERVAL_S = 10.0
"""A terminal sees progress every second, a log file one line in ten."""


@click.command("load")
@click.option("--url", metavar="URL", help="The service to load.  [default: a stand of our own, gone afterwards]")
@click.option("--tool", type=click.Choice(["locust", "k6"]), default="locust", show_default=True, help="Who plays it.")
@click.option("--users", type=click.IntRange(min=1), help="Users at once.  [default: the scenario's]")
@click.option("--ramp", type=click.FloatRange(min=0, min_open=True), help="Users arriving per second.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="How long they stay, once all are there.")
@click.option("--scenario", "scenario_path", type=click.Path(path_type=Path), help="Scenario file.  [default: gym-day]")
@click.option("--population", "population_path", type=click.Path(path_type=Path), help="Users of the service at --url.")
@click.option("--seed", type=int, help="Seed of every choice.  [default: the scenario's]")
@click.option("--directory", type=click.Path(path_type=Path), help="Where the run's files go.  [default: var/runs/ID]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def command(
    url: str | None,
    tool: str,
    users: int | None,
    ramp: float | None,
    seconds: float | None,
    scenario_path: Path | None,
    population_path: Path | None,
    seed: int | None,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Put users on the service and judge how it served them.

    Exits with 0 when every service level is met, 1 when one is not, 3 when the run cannot tell.

    \b
    Examples:
      gymkhana load --users 100 --seconds 20
      gymkhana load --url http://127.0.0.1:8000 --tool k6 --population var/population.json
    """
    if population_path is not None and url is None:
        raise click.UsageError("--population names users of a service; say which one with --url.")

    from ci.stand import new_run_id
    from loadtests import scenario_file
    from loadtests.errors import PlanError
    from loadtests.plan import LoadPlan
    from loadtests.scenario import GYM_DAY

    scenario_path = scenario_path or GYM_DAY
    scenario = scenario_file.read(scenario_path)
    if not (seconds or scenario.load.seconds):
        raise PlanError(f"{scenario_path.name} runs until stopped; say for how long with --seconds.")
    run = new_run_id("load", time.time())
    directory = directory or Path("var/runs") / run
    if directory.exists() and any(directory.iterdir()):
        raise PlanError(f"{directory} is not empty; a load needs a directory of its own.")
    users = users or scenario.load.users
    seed = scenario.seed if seed is None else seed
    with _service(url, population_path, directory, users, seed, run) as (address, population):
        plan = LoadPlan(
            url=address.rstrip("/"),
            users=users,
            ramp_per_s=ramp or scenario.load.ramp_per_s,
            seconds=seconds or scenario.load.seconds,
            run=run,
            seed=seed,
            scenario=scenario_path,
            population=population,
            directory=directory,
        )
        assessment = _play(plan, tool, scenario)
    if as_json:
        _say_json(plan, tool, assessment)
    else:
        _say(plan, tool, assessment)
    raise click.exceptions.Exit(EXIT_CODES[assessment.verdict])


@contextmanager
def _service(
    url: str | None, population: Path | None, directory: Path, users: int, seed: int, run: str
) -> Iterator[tuple[str, Path]]:
    """Address of the service and the file of its users: those named, recruited there, or a stand's."""
    if url is None:
        with _own_stand(directory, users, seed) as found:
            yield found
    elif population is not None:
        yield url, population
    else:
        yield url, _recruited(url, directory, users, run)


@contextmanager
def _own_stand(directory: Path, users: int, seed: int) -> Iterator[tuple[str, Path]]:
    """A stand in `directory` that serves while the block runs."""
    from ci.stand import Stand, standing

    stand = Stand(directory)
    with standing(stand):
        stand.build(users=users, tournaments=max(users // 50, 4), matches=users, seed=seed)
        stand.start()
        stand.wait_ready()
        yield stand.url, stand.population


def _recruited(url: str, directory: Path, users: int, run: str) -> Path:
    """A population file, its users signed up just now."""
    from loadtests.population import write
    from loadtests.recruit import recruit

    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "population.json"
    with click.progressbar(length=users, label="Signing users up", file=sys.stderr) as bar:
        write(recruit(url, users, run, told=lambda _ready, _wanted: bar.update(1)), path)
    return path


def _play(plan: LoadPlan, tool: str, scenario: Scenario) -> Assessment:
    """Plays the plan to its end, progress on standard error, and judges what it left."""
    from loadtests.assessment import assess
    from loadtests.errors import ToolError
    from loadtests.generator import read_samples
    from loadtests.history import read_history
    from loadtests.tools import load_tool

    with load_tool(tool).start(plan) as load:
        _watch(load, scenario)
        load.wait()
    if load.fault:
        raise ToolError(load.fault)
    return assess(read_history(plan.ledger), scenario, read_samples(plan.samples))


def _watch(load: RunningLoad, scenario: Scenario) -> None:
    """Says every second on a terminal, every ten off one, how the load is doing; returns when it has ended."""
    from loadtests.history import Tail
    from loadtests.live import Pulse

    pulse = Pulse(scenario)
    tail = Tail(load.plan.ledger)
    live = sys.stderr.isatty()
    began = said = time.monotonic()
    while not load.ended_within(LIVE_INTERVAL_S):
        pulse.feed(tail.poll())
        now = time.monotonic()
        line = f"{now - began:4.0f} s  {pulse.line(now)}"
        if live:
            click.echo(f"\r\x1b[K{line}", nl=False, err=True)
        elif now - said >= QUIET_INTERVAL_S:
            click.echo(line, err=True)
            said = now
    if live:
        click.echo("\r\x1b[K", nl=False, err=True)


def _say(plan: LoadPlan, tool: str, assessment: Assessment) -> None:
    steady = assessment.steady
    _say_flows([*steady.flows, steady.total])
    expected = f", {steady.expected_rate:.1f} expected" if steady.expected_rate else ""
    cores = "" if assessment.generator_cores is None else f"; {tool} used {assessment.generator_cores:.2f} cores"
    click.echo(
        f"\n{steady.users:.0f} users for {steady.window.seconds:.0f} s: "
        f"{steady.total.rate:.1f} requests/s{expected}{cores}. Seed {plan.seed}.\n"
    )
    for level in assessment.levels:
        why = f"  {level.why}" if level.why else ""
        click.echo(f"{level.result.upper():8}{level.name:24} {_measured(level):>12}  {level.goal}{why}")
    for doubt in assessment.doubts:
        click.echo(f"UNKNOWN {doubt}")
    click.echo(f"\n{assessment.verdict.upper()}  {plan.directory}")


def _say_flows(rows: Sequence[Figures]) -> None:
    """The table of flows; a dash is a percentile with fewer than ten requests beyond it."""
    click.echo(
        f"{'flow':14}{'requests':>10}{'failures':>10}{'refused':>9}{'per s':>9}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}"
    )
    for row in rows:
        click.echo(
            f"{row.name:14}{row.requests:>10}{row.failures:>10}{row.refused:>9}{row.rate:>9.1f}"
            f"{_ms(row.p50_ms):>9}{_ms(row.p95_ms):>9}{_ms(row.p99_ms):>9}"
        )


def _ms(value: float | None) -> str:
    return "-" if value is None else "failed" if math.isinf(value) else f"{value:.1f}"


def _measured(level: Judged) -> str:
    if level.measured is None:
        return "-"
    if level.unit == "share":
        return f"{level.measured:.2%}"
    return "failed" if math.isinf(level.measured) else f"{level.measured:.1f} ms"


def _say_json(plan: LoadPlan, tool: str, assessment: Assessment) -> None:
    import msgspec

    steady = assessment.steady
    document: dict[str, Any] = {
        "run": plan.run,
        "verdict": assessment.verdict,
        "doubts": assessment.doubts,
        "levels": assessment.levels,
        "flows": steady.flows,
        "total": steady.total,
        "users": steady.users,
        "seconds": steady.window.seconds,
        "rate": steady.total.rate,
        "expected_rate": steady.expected_rate,
        "failures_in_all": assessment.whole.total.failures,
        "generator": {"tool": tool, "cores": assessment.generator_cores},
        "seed": plan.seed,
        "directory": str(plan.directory),
    }
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=1).decode())
