"""A thousand users by each load tool on each database, and by k6 on an nginx that has nothing to do: one run, one machine.

    python -m tests.bench.users.side_by_side --rounds 1

    gymkhana load --profile users-1000, on a stand of its own each time ─▶ figures, and every write accounted for
    the same users of k6 on nginx ─▶ what generator and machine cost by themselves

The loads take turns, each round beginning with another. A missed goal ends with 1, what could not be measured with 3.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.comparison import strangers
from loadtests import population, scenario_file
from loadtests.assessment import assess
from loadtests.errors import LoadError
from loadtests.generator import read_samples
from loadtests.history import read_history
from loadtests.plan import LoadPlan
from loadtests.scenario import GYM_DAY
from loadtests.tools import load_tool
from tests.bench import machine
from tests.bench.goals import Round, judged, turns
from tests.bench.showing import show
from tests.bench.users import goals
from tests.bench.users.nginx import NoNginx, answering

BENCH = Path(__file__).parents[3] / "var" / "bench"
LONGEST_S = 600.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What one run is to do."""

    databases: tuple[str, ...] = tuple(goals.DATABASES)
    tools: tuple[str, ...] = goals.TOOLS
    rounds: int = 1
    profile: str = "users-1000"
    users: int = goals.USERS
    bench: Path = BENCH


def measure(terms: Terms, say: Callable[[str], None]) -> list[Round]:
    """Every round, one after another."""
    terms.bench.mkdir(parents=True, exist_ok=True)
    rounds: list[Round] = []
    with tempfile.TemporaryDirectory(dir=terms.bench, prefix="users-") as run:
        for number in range(terms.rounds):
            found: Round = {}
            for load in turns(_loads(terms, Path(run, str(number)), found, say), number):
                load()
            rounds.append(found)
    return rounds


def _loads(terms: Terms, place: Path, found: Round, say: Callable[[str], None]) -> list[Callable[[], None]]:
    def on_a_stand(database: str, tool: str) -> Callable[[], None]:
        def load() -> None:
            name = f"{goals.DATABASES[database]}, {tool}"
            try:
                found.update(goals.found_of(name, _load(terms, database, tool, place / f"{database}-{tool}")))
                say(f"{name}: p95 {found.get(f'{name}: p95', float('nan')):.1f} ms")
            except LoadError as error:
                say(f"{name}: {error}")

        return load

    def on_nginx() -> None:
        try:
            found["nginx: p95"] = _on_nginx(terms, place / "nginx")
            say(f"nginx, k6: p95 {found['nginx: p95']:.1f} ms")
        except (NoNginx, LoadError) as error:
            say(f"nginx, k6: {error}")

    loads = [on_a_stand(database, tool) for database in terms.databases for tool in terms.tools]
    return [*loads, on_nginx] if "k6" in terms.tools else loads


def _load(terms: Terms, database: str, tool: str, directory: Path) -> dict[str, object]:
    """What the command told. Raises LoadError when it could not play."""
    command = [
        sys.executable, "-m", "ci.cli", "load", "--profile", terms.profile, "--users", str(terms.users), "--tool", tool,
        "--database", database, "--directory", str(directory), "--json",
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_S)
    if ended.returncode not in (0, 1, 3):
        raise LoadError((ended.stderr or ended.stdout).strip().splitlines()[-1])
    told: dict[str, object] = json.loads(ended.stdout)
    return told


def _on_nginx(terms: Terms, directory: Path) -> float:
    """p95 in milliseconds of the same users there. Raises NoNginx or LoadError."""
    directory.mkdir(parents=True)
    path = directory / "scenario.json"
    written = json.loads(GYM_DAY.read_bytes())
    written["flows"] = [flow | {"expect": [200]} for flow in written["flows"]]
    path.write_text(json.dumps(written), "utf-8")
    scenario = scenario_file.read(path)
    profile = scenario.profile(terms.profile).scaled(terms.users)
    people = directory / "population.json"
    population.write(strangers(terms.users), people)
    with answering(directory / "server") as url:
        plan = LoadPlan(
            url=url,
            users=profile.users,
            ramp_per_s=1.0,
            seconds=0.0,
            run="nginx",
            seed=scenario.seed,
            scenario=path,
            population=people,
            directory=directory,
            profile=profile.shape,
        )
        with load_tool("k6").start(plan) as load:
            load.wait()
        if load.fault:
            raise LoadError(load.fault)
    seen = assess(read_history(plan.ledger), scenario, read_samples(plan.samples), plan.profile, "", plan.length_s)
    if seen.steady.total.p95_ms is None or seen.steady.total.failures:
        raise LoadError(f"nginx answered {seen.steady.total.failures} requests badly, so nothing is held against it.")
    return seen.steady.total.p95_ms


def conditions(terms: Terms) -> dict[str, str]:
    """What is to be known about the figures."""
    return {
        "load": f"profile {terms.profile}, {terms.users} users who think one to three seconds; the steady stretch",
        "cores": "shared by service, database, users and whoever else is there: latencies are upper bounds",
        "nginx": "one worker, one short answer to everything, without a log",
        "figures": f"medians of {terms.rounds}",
        **machine.described(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write `users.json`; 0 when every goal is met, 1 when one is missed, 3 when one was not tried."""
    parser = argparse.ArgumentParser(description="A thousand users by every load tool on every database.")
    parser.add_argument("--database", choices=tuple(goals.DATABASES), help="this one and not both")
    parser.add_argument("--tool", choices=goals.TOOLS, help="this one and not all three")
    parser.add_argument("--rounds", type=int, default=1, help="how often everything is measured (1)")
    parser.add_argument("--users", type=int, default=goals.USERS, help="how many users (1000)")
    given = parser.parse_args(arguments)
    if given.rounds < 1 or given.users < 1:
        parser.error("--rounds and --users are at least 1")
    databases = (given.database,) if given.database else tuple(goals.DATABASES)
    tools = (given.tool,) if given.tool else goals.TOOLS
    terms = Terms(databases, tools, given.rounds, users=given.users)
    about = conditions(terms)
    rounds = measure(terms, lambda line: print(line, flush=True))
    rows, missing = judged(goals.rows(databases, tools), rounds)
    return show(terms.bench, "users", about, rows, missing)


if __name__ == "__main__":
    sys.exit(main())
