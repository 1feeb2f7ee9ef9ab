"""`gymkhana load`: plays a scenario with one of the load tools, and judges it from the ledger."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ci.commands.load_compare import compare
from ci.commands.load_told import Outcome, say, say_json

if TYPE_CHECKING:
    from ci.sampler import Sampler
    from ci.stand import Stand
    from loadtests.fail_fast import Prospects
    from loadtests.plan import LoadPlan
    from loadtests.scenario import Scenario
    from loadtests.tools import RunningLoad

EXIT_CODES = {"pass": 0, "fail": 1, "unknown": 3}
LIVE_INTERVAL_S = 1.0
QUIET_INTERVAL_S = 10.0
"""A terminal sees progress every second, a log file one line in ten."""


@click.group("load", invoke_without_command=True)
@click.option("--url", metavar="URL", help="The service to load.  [default: a stand of our own, gone afterwards]")
@click.option(
    "--tool", type=click.Choice(["locust", "k6", "jmeter"]), default="locust", show_default=True, help="Who plays it."
)
@click.option("--profile", metavar="NAME", help="One of the scenario's profiles, such as smoke, spike or arrivals.")
@click.option("--users", type=click.IntRange(min=1), help="Users at once.  [default: the scenario's]")
@click.option("--ramp", type=click.FloatRange(min=0, min_open=True), help="Users arriving per second.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="How long they stay, once all are there.")
@click.option("--scenario", "scenario_path", type=click.Path(path_type=Path), help="Scenario file.  [default: gym-day]")
@click.option("--population", "population_path", type=click.Path(path_type=Path), help="Users of the service at --url.")
@click.option(
    "--database", type=click.Choice(["sqlite", "postgres"]), default="sqlite", show_default=True, help="Of the stand."
)
@click.option("--seed", type=int, help="Seed of every choice.  [default: the scenario's]")
@click.option(
    "--processes", type=click.IntRange(min=1), help="Worker processes of Locust on this machine.  [default: one]"
)
@click.option("--workers", type=click.IntRange(min=1), help="Wait for so many workers that are started elsewhere.")
@click.option(
    "--listen", metavar="HOST:PORT", help="Where --workers reach the master.  [default: a free port of 127.0.0.1]"
)
@click.option("--fail-fast", is_flag=True, help="End the load as soon as a service level cannot be met any more.")
@click.option("--directory", type=click.Path(path_type=Path), help="Where the run's files go.  [default: var/runs/ID]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Put users on the service and judge how it served them.

    Exits with 0 when every service level is met, 1 when one is not, 3 when the run cannot tell.

    \b
    Examples:
      gymkhana load --users 100 --seconds 20
      gymkhana load --profile spike --fail-fast
      gymkhana load --url http://127.0.0.1:8000 --tool k6 --population var/population.json
    """
    if ctx.invoked_subcommand is not None:
        return
    raise click.exceptions.Exit(EXIT_CODES[_load(Order(**options), as_json=as_json)])


@command.command("check")
@click.argument("path", metavar="SCENARIO", type=click.Path(path_type=Path))
def check(path: Path) -> None:
    """Read a scenario and say what is wrong with it, field by field; starts nothing.

    \b
    Example:
      gymkhana load check loadtests/scenarios/gym-day.json
    """
    from loadtests import scenario_file
    from loadtests.errors import ScenarioError

    try:
        scenario = scenario_file.read(path)
    except ScenarioError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        raise click.exceptions.Exit(error.exit_code) from error
    profiles = ", ".join(scenario.profiles) or "none"
    click.echo(
        f"{path.name} is sound: {len(scenario.flows)} flows, {len(scenario.levels)} levels; profiles: {profiles}."
    )


@command.command("worker")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--master", metavar="HOST:PORT", required=True, help="Where `gymkhana load --workers N` listens.")
@click.option("--number", type=click.IntRange(min=1), required=True, help="Which worker this is, from 1.")
def worker(directory: Path, master: str, number: int) -> None:
    """Play a share of the load whose run DIRECTORY is, for a master that waits for it; ends with the load.

    The directory must be the run's own, here or on a disk that both machines share: the plan is read from it, and the
    worker's ledger is written into it.

    \b
    Example:
      gymkhana load worker var/runs/20261123T091400Z-load-4f2a --master 127.0.0.1:5557 --number 1
    """
    from loadtests.tools import worker_process

    raise click.exceptions.Exit(worker_process(directory, master, number))


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asks for; None is what it leaves to the scenario."""

    url: str | None
    tool: str
    profile: str | None
    users: int | None
    ramp: float | None
    seconds: float | None
    scenario_path: Path | None
    population_path: Path | None
    database: str
    seed: int | None
    processes: int | None
    workers: int | None
    listen: str | None
    fail_fast: bool
    directory: Path | None

    def __post_init__(self) -> None:
        for wrong, complaint in (
            (self.population_path and not self.url, "--population names users of a service; say which one with --url."),
            (self.url and self.database != "sqlite", "--database is the stand's; the service at --url has its own."),
            (
                self.profile and (self.ramp or self.seconds),
                "--profile says how many users come when; leave --ramp and --seconds out.",
            ),
            (self.workers and self.processes, "--workers are started elsewhere, --processes here; give one of them."),
            (self.listen and not self.workers, "--listen is for --workers; say how many there will be."),
        ):
            if wrong:
                raise click.UsageError(complaint)


def _load(order: Order, *, as_json: bool) -> str:
    """Plays the order and says how it went; the verdict."""
    import msgspec

    from ci.loopback import HOST, free_ports
    from ci.stand import new_run_id
    from loadtests import scenario_file
    from loadtests.errors import PlanError
    from loadtests.plan import LoadPlan
    from loadtests.scenario import GYM_DAY

    path = order.scenario_path or GYM_DAY
    scenario = scenario_file.read(path)
    profile = None
    if order.profile is not None:
        profile = scenario.profile(order.profile)
        if profile.levels is not None:
            scenario = msgspec.structs.replace(scenario, levels=profile.levels)
        if order.users is not None:
            profile = profile.scaled(order.users)
    elif not (order.seconds or scenario.load.seconds):
        raise PlanError(f"{path.name} runs until stopped; say for how long with --seconds.")
    run = new_run_id("load", time.time())
    directory = order.directory or Path("var/runs") / run
    if directory.exists() and any(directory.iterdir()):
        raise PlanError(f"{directory} is not empty; a load needs a directory of its own.")
    users = profile.users if profile else order.users or scenario.load.users
    seed = scenario.seed if order.seed is None else order.seed
    master = "" if order.workers is None else order.listen or f"{HOST}:{free_ports(1)[0]}"
    with _service(order, directory, users, seed, run) as place:
        plan = LoadPlan(
            url=place.url.rstrip("/"),
            users=users,
            ramp_per_s=order.ramp or scenario.load.ramp_per_s,
            seconds=order.seconds or scenario.load.seconds,
            run=run,
            seed=seed,
            scenario=path,
            population=place.population,
            directory=directory,
            profile=profile.shape if profile else None,
            processes=order.workers or order.processes or 1,
            master=master,
        )
        with _sampled(plan, own=place.stand is not None) as sampler:
            told = _play(plan, order, scenario)
            if place.stand is not None:
                told = _accounted(told, place.stand, plan, sampler)
    _draw(plan, order.tool, scenario, told)
    if as_json:
        say_json(plan, order.tool, order.profile, told)
    else:
        say(plan, order.tool, told)
    return told.verdict


@dataclass(frozen=True, slots=True)
class Place:
    """Where the load goes: a service, its users, and the stand when it is one of ours."""

    url: str
    population: Path
    stand: Stand | None = None


def _accounted(told: Outcome, stand: Stand, plan: LoadPlan, sampler: Sampler) -> Outcome:
    """The same, and what became of the writes."""
    from ci import accounts

    return replace(told, accounts=accounts.settle(stand, plan, sampler))


command.add_command(compare)


@contextmanager
def _service(order: Order, directory: Path, users: int, seed: int, run: str) -> Iterator[Place]:
    """The service, with the users that are named, recruited there, or a stand's."""
    if order.url is None:
        with _own_stand(directory, users, seed, order.database) as found:
            yield found
    elif order.population_path is not None:
        yield Place(order.url, order.population_path)
    else:
        yield Place(order.url, _recruited(order.url, directory, users, run))


@contextmanager
def _own_stand(directory: Path, users: int, seed: int, database: str) -> Iterator[Place]:
    """A stand in `directory` that serves while the block runs."""
    from ci.cluster import Cluster
    from ci.stand import Stand, standing

    stand = Stand(directory, cluster=Cluster(directory / "pg") if database == "postgres" else None)
    with standing(stand):
        stand.build(users=users, tournaments=max(users // 50, 4), matches=users, seed=seed)
        stand.start()
        stand.wait_ready()
        yield Place(stand.url, stand.population, stand)


def _recruited(url: str, directory: Path, users: int, run: str) -> Path:
    """A population file, its users signed up just now."""
    from loadtests.population import write
    from loadtests.recruit import recruit

    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "population.json"
    with click.progressbar(length=users, label="Signing users up", file=sys.stderr) as bar:
        write(recruit(url, users, run, told=lambda _ready, _wanted: bar.update(1)), path)
    return path


def _play(plan: LoadPlan, order: Order, scenario: Scenario) -> Outcome:
    """Plays the plan to its end, progress on standard error, and judges what it left."""
    from loadtests.assessment import assess
    from loadtests.errors import ToolError
    from loadtests.fail_fast import Prospects
    from loadtests.generator import read_samples
    from loadtests.history import read_history
    from loadtests.tools import load_tool

    prospects = Prospects(scenario, plan.shape) if order.fail_fast else None
    with load_tool(order.tool).start(plan) as load:
        if plan.master:
            click.echo(
                f"Waiting for {plan.processes} workers:\n  gymkhana load worker {plan.directory} --master {plan.master} "
                f"--number 1 (to {plan.processes})",
                err=True,
            )
        stopped = _watch(load, scenario, prospects)
        load.wait()
    if load.fault:
        raise ToolError(load.fault)
    history, generator = read_history(plan.ledger), read_samples(plan.samples)
    return Outcome(history, generator, assess(history, scenario, generator, plan.profile, stopped, plan.length_s))


@contextmanager
def _sampled(plan: LoadPlan, *, own: bool) -> Iterator[Sampler]:
    """The service's figures go to `samples.jsonl` while the block runs; of a stand of our own, its processes' cores too."""
    from urllib.parse import urlsplit

    from ci.sampler import Sampler
    from ci.stand import Stand

    at = urlsplit(plan.url)
    plan.directory.mkdir(parents=True, exist_ok=True)
    pids = Stand(plan.directory).pids if own else dict
    with Sampler(at.hostname or "", at.port or 80, plan.directory / "samples.jsonl", pids) as sampler:
        yield sampler


def _draw(plan: LoadPlan, tool: str, scenario: Scenario, told: Outcome) -> None:
    """`report.html` in the run's directory tells the load."""
    from ci import load_page

    origin, series, marks = load_page.fold(
        told.history,
        scenario,
        told.assessment,
        load_page.read_service(plan.directory / "samples.jsonl"),
        told.generator,
    )
    wall = next((clock.wall - clock.mono + origin for clock in told.history.clocks), time.time())
    run = load_page.LoadRun(
        id=plan.run,
        tool=tool,
        users=plan.users,
        seed=plan.seed,
        command=_typed(plan.seed),
        began=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall)),
        scenario=scenario,
        verdict=told.verdict,
        assessment=told.assessment,
        accounts=told.accounts,
        series=series,
        marks=marks,
        duration_s=series.t[-1] + 1 if series.t else 0.0,
        origin=origin,
    )
    load_page.write(run, plan.directory / "report.html")


def _typed(seed: int) -> str:
    """The command that plays this load again, in a directory of its own."""
    import shlex

    ctx = click.get_current_context()
    words = [*ctx.command_path.split(), "--seed", str(seed)]
    for parameter in ctx.command.params:
        value = ctx.params.get(parameter.name or "")
        if value not in (None, False) and parameter.name not in ("seed", "directory", "as_json"):
            words += [parameter.opts[0]] if value is True else [parameter.opts[0], str(value)]
    return shlex.join(words)


def _watch(load: RunningLoad, scenario: Scenario, prospects: Prospects | None) -> str:
    """Says every second on a terminal, every ten off one, how the load is doing; returns when it has ended.

    A load that cannot meet its levels any more by its `prospects` is stopped, and why is returned.
    """
    from loadtests.history import Tail
    from loadtests.live import Pulse

    pulse = Pulse(scenario)
    tails = [Tail(path) for path in load.plan.ledgers]
    live = sys.stderr.isatty()
    began = said = time.monotonic()
    stopped = ""
    while not load.ended_within(LIVE_INTERVAL_S):
        lines = [line for tail in tails for line in tail.poll()]
        pulse.feed(lines)
        now = time.monotonic()
        line = f"{now - began:4.0f} s  {pulse.line(now)}"
        if live:
            click.echo(f"\r\x1b[K{line}", nl=False, err=True)
        elif now - said >= QUIET_INTERVAL_S:
            click.echo(line, err=True)
            said = now
        if prospects is not None:
            prospects.feed(lines)
            if stopped := prospects.lost(now):
                load.stop()
    if live:
        click.echo("\r\x1b[K", nl=False, err=True)
    return stopped
