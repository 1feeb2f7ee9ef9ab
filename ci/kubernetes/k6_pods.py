"""One load played by k6 in several pods: prepared before they start, and their ledgers made one when they have ended.

    prepare ─ population.json, plan.json ─┬─ k6 pod 1: its share of the users   pods/NAME-1.jsonl ─┬─ collect ─ ledger.jsonl
                                          └─ k6 pod 2: its share of the users   pods/NAME-2.jsonl ─┘

k6 numbers the users of all pods in one row, so that no two are the same one and no operation is sent by two. The pods know
the wall clock only; what they say is put on one clock by it.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from ci.stand import new_run_id
from loadtests import k6_ledger, population, scenario_file, tools
from loadtests.assessment import Assessment, assess
from loadtests.errors import LoadError, PlanError
from loadtests.history import decode, on_monotonic_clock, read_history
from loadtests.ledger import Clock, Done, End, Line, User, append, clock_line
from loadtests.plan import LoadPlan
from loadtests.recruit import recruit
from loadtests.scenario import GYM_DAY

PLAN = "plan.json"
PODS = "pods"
SCENARIO = "scenario.json"
LOOK_S = 1.0

EXIT_CODES = {"pass": 0, "fail": 1, "unknown": 3}


@dataclass(frozen=True, slots=True)
class Part:
    """What one pod left: the lines it wrote, and whether it lived to count them."""

    name: str
    lines: tuple[Line, ...]
    counters: dict[str, int] | None

    @property
    def last(self) -> float:
        """Wall seconds of the last thing it wrote."""
        return max((_said(line) for line in self.lines), default=0.0)


def prepare(plan: LoadPlan) -> None:
    """The plan's directory holds all that the pods read, the plan last. Raises LoadError when it cannot be played."""
    tools.prepare(plan)
    (plan.directory / PODS).mkdir()
    beginning = plan.directory / f"{PLAN}.new"
    beginning.write_bytes(msgspec.json.encode(plan.to_environment()))
    beginning.replace(plan.directory / PLAN)


def collect(directory: Path, names: Sequence[str]) -> tuple[LoadPlan, tuple[str, ...]]:
    """The plan's ledger holds what the pods called `names` wrote; and why it is not whole, a phrase each.

    When the accounts do not balance, or a pod never counted its lines, it gets no end line, and a reader will say so.
    """
    plan = _plan(directory)
    if plan.ledger.exists():
        raise PlanError(f"{plan.ledger} exists; what the pods wrote has been collected before.")
    parts = [_part(directory / PODS, name) for name in names]
    flaws = tuple(flaw for part in parts for flaw in _flaws(part)) + _in_two(parts)
    lines = sorted((line for part in parts for line in part.lines), key=_said)
    gone = [User(user=user, tw=part.last, up=False) for part in parts for user in _users(part)]
    append(plan.ledger, *on_monotonic_clock([clock_line(plan.run, "k6"), *lines, *gone], plan.ledger))
    if not flaws:
        counted: Counter[str] = Counter()
        for part in parts:
            counted.update(part.counters or {})
        plan.k6_summary.write_bytes(msgspec.json.encode(counted))
        k6_ledger.finish(plan)
    return plan, flaws


def _plan(directory: Path) -> LoadPlan:
    try:
        told = msgspec.json.decode((directory / PLAN).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError) as error:
        raise PlanError(f"{directory} holds no plan ({error}); prepare the load first.") from error
    return LoadPlan.from_environment(told)


def _part(place: Path, name: str) -> Part:
    ledger, summary = place / f"{name}.jsonl", place / f"{name}.json"
    lines, bad = decode(ledger.read_bytes()) if ledger.exists() else ([], 0)
    try:
        counters = msgspec.json.decode(summary.read_bytes(), type=dict[str, int])
    except (OSError, msgspec.DecodeError):
        counters = None
    # A torn line is one less than was counted.
    return Part(name, tuple(lines), None if bad else counters)


def _flaws(part: Part) -> list[str]:
    if not part.lines:
        return [f"{part.name} wrote nothing"]
    if part.counters is None:
        return [f"{part.name} did not live to its end"]
    written = Counter(type(line).__name__ for line in part.lines)
    return [
        f"{part.name} wrote {written[kind]} of {part.counters[count]} {kind.lower()} lines"
        for kind, count in (("Invoke", "invoked"), ("Done", "done"))
        if written[kind] < part.counters[count]
    ]


def _in_two(parts: Sequence[Part]) -> tuple[str, ...]:
    """Users in more than one pod: their operations have the same ids."""
    times = Counter(user for part in parts for user in _users(part))
    return tuple(f"user {user} was in {count} pods" for user, count in times.items() if count > 1)


def _users(part: Part) -> list[int]:
    return list(dict.fromkeys(line.user for line in part.lines if isinstance(line, User) and line.up))


def _said(line: Line) -> float:
    """Wall seconds at which a pod wrote the line."""
    if isinstance(line, Clock | End) or line.tw is msgspec.UNSET:
        return 0.0
    return line.tw + line.d if isinstance(line, Done) else line.tw


@click.group()
def command() -> None:
    """Prepare a load that k6 plays in several pods, and judge it afterwards."""


@command.command("prepare")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--url", metavar="URL", required=True, help="The service to load.")
@click.option("--users", type=click.IntRange(min=1), help="Users at once, of all pods.  [default: the scenario's]")
@click.option("--ramp", type=click.FloatRange(min=0, min_open=True), help="Users arriving per second.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="How long they stay, once all are there.")
@click.option("--scenario", "scenario_path", type=click.Path(path_type=Path), default=GYM_DAY, help="Scenario file.")
@click.option("--population", "people", type=click.Path(path_type=Path), help="Users of the service.")
def prepare_command(
    directory: Path,
    url: str,
    users: int | None,
    ramp: float | None,
    seconds: float | None,
    scenario_path: Path,
    people: Path | None,
) -> None:
    """Sign users up, and write what the pods read into DIRECTORY."""
    scenario = scenario_file.read(scenario_path)
    if directory.exists() and any(directory.iterdir()):
        raise PlanError(f"{directory} is not empty; a load needs a directory of its own.")
    directory.mkdir(parents=True, exist_ok=True)
    run = new_run_id("k6", time.time())
    users = users or scenario.load.users
    plan = LoadPlan(
        url=url.rstrip("/"),
        users=users,
        ramp_per_s=ramp or scenario.load.ramp_per_s,
        seconds=seconds or scenario.load.seconds,
        run=run,
        seed=scenario.seed,
        scenario=directory / SCENARIO,
        population=directory / "population.json",
        directory=directory,
    )
    plan.scenario.write_bytes(scenario_path.read_bytes())
    population.write(population.read(people) if people else recruit(plan.url, users, run), plan.population)
    prepare(plan)
    click.echo(f"{plan.users} users are ready, and the plan is in {directory / PLAN}.")


@command.command("collect")
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("names", metavar="POD...", nargs=-1, required=True)
@click.option("--wait-s", type=click.FloatRange(min=0), default=0.0, help="How long to wait for the pods to end.")
def collect_command(directory: Path, names: tuple[str, ...], wait_s: float) -> None:
    """Make one ledger of what the pods wrote, and judge it: 0 when every level is met, 1 when not, 3 when it cannot tell."""
    deadline = time.monotonic() + wait_s
    while not all((directory / PODS / f"{name}.json").exists() for name in names) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    plan, flaws = collect(directory, names)
    scenario = scenario_file.read(plan.scenario)
    assessment = assess(read_history(plan.ledger), scenario)
    _say(plan, flaws, assessment)
    raise click.exceptions.Exit(EXIT_CODES[assessment.verdict])


def _say(plan: LoadPlan, flaws: Sequence[str], assessment: Assessment) -> None:
    steady = assessment.steady
    click.echo(f"{steady.users:.0f} users for {steady.window.seconds:.0f} s: {steady.total.rate:.1f} requests/s.")
    for level in assessment.levels:
        click.echo(f"{level.result.upper():8}{level.name:24} {level.told:>12}  {level.goal}  {level.why}".rstrip())
    for doubt in (*assessment.doubts, *flaws):
        click.echo(f"UNKNOWN {doubt}")
    click.echo(f"\n{assessment.verdict.upper()}  {plan.directory}")


def main() -> int:
    """Runs the command; its exit code."""
    try:
        return int(command.main(standalone_mode=False) or 0)
    except LoadError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
