"""The service side by side with the obvious version of it, the raw driver and pgbench: one run, one machine, one state.

    python -m tests.bench.service.side_by_side --rounds 5 --seconds 5

Every contender begins with a copy of the same populated database. They take turns, every other round in the opposite order,
and each ratio is made of two figures of one round. What a CPU-second does is compared, because the clients, and whoever else
is on the machine, take cores away from all of them, but not from one CPU-second. A missed goal ends with 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from backups.errors import BackupError
from backups.postgres.server import Server, running
from ci.cluster import Cluster
from ci.loopback import free_ports
from ci.stand import StandError, standing
from loadtests import population, scenario_file
from loadtests.scenario import GYM_DAY
from loadtests.virtual_user import Script
from tests.bench import machine
from tests.bench.goals import Round, judged
from tests.bench.service import driver, goals, pgbench
from tests.bench.service.ground import SEED, USERS, Ground, GroundTrouble, Load, Measured, Production
from tests.bench.showing import show

BENCH = Path(__file__).parents[3] / "var" / "bench"
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
DATABASES = {"sqlite": SQLITE, "postgres": POSTGRES}
CONNECTIONS, MANY = 64, 100


@dataclass(frozen=True, slots=True)
class Terms:
    """What one run is to do."""

    databases: tuple[str, ...] = (SQLITE, POSTGRES)
    rounds: int = 5
    seconds: float = 5.0
    warm_s: float = 1.0
    history_s: float = 4.0
    steps: int = 4_000
    bench: Path = BENCH

    @property
    def load(self) -> Load:
        """The whole scenario."""
        return Load(CONNECTIONS, self.seconds, self.warm_s)

    @property
    def writes(self) -> Load:
        """Nothing but writes, from as many clients as pgbench has."""
        return Load(pgbench.CLIENTS, self.seconds, self.warm_s, writes=True)

    @property
    def many_writes(self) -> Load:
        """The same from as many as a busy service has at once: the more wait, the more share a commit."""
        return Load(MANY, self.seconds, self.warm_s, writes=True)


def measure(terms: Terms, say: Callable[[str], None]) -> list[Round]:
    """Every round, one after another."""
    terms.bench.mkdir(parents=True, exist_ok=True)
    rounds: list[Round] = []
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=terms.bench, prefix="service-")))
        say("Making the state that every contender begins with, and writing its statements down.")
        grounds = {name: _ground(stack, terms, name, place) for name in terms.databases}
        server = grounds[POSTGRES].server if POSTGRES in grounds else _server(stack, place)
        assert server is not None
        script = pgbench.prepare(server, place)
        acts = {name: _recorded(ground, terms) for name, ground in grounds.items()}
        for number in range(terms.rounds):
            found: Round = {}
            for name, ground in grounds.items():
                found |= goals.named(name, _round(terms, ground, acts[name], number))
            found["pgbench rate"] = pgbench.writes_per_second(server, script, terms.seconds)
            rounds.append(found)
            say(f"Round {number + 1} of {terms.rounds}: {_told(terms, found)}")
    return rounds


def _ground(stack: ExitStack, terms: Terms, name: str, place: Path) -> Ground:
    directory = place / name.lower()
    stand = Production(directory, cluster=Cluster(directory / "pg") if name == POSTGRES else None)
    ground = Ground(stack.enter_context(standing(stand)))
    ground.build(terms.history_s)
    return ground


def _server(stack: ExitStack, place: Path) -> Server:
    return stack.enter_context(running(place / "pgbench", free_ports(1)[0]))


def _recorded(ground: Ground, terms: Terms) -> list[driver.Act]:
    people = population.read(ground.stand.population)
    script = Script(scenario_file.read(GYM_DAY), people, seed=1, run=f"{ground.stand.run}.driver", users=USERS)
    ground.fresh()
    return driver.record(ground.stand.database_url, script, terms.steps)


def _round(terms: Terms, ground: Ground, acts: Sequence[driver.Act], number: int) -> Round:
    found: Round = {"unexpected": 0.0}

    def add(name: str, measured: Measured) -> None:
        seen = measured.counted
        found[f"{name} rate"] = measured.rate
        found[f"{name} per CPU-s"] = measured.per_cpu_s
        found[f"{name} per any CPU-s"] = measured.per_any_cpu_s
        found[f"{name} p50 ms"], found[f"{name} p95 ms"] = seen.p50_ms, seen.p95_ms
        found[f"{name} server ms"] = 1000 * measured.server_cpu_s / max(seen.requests, 1)
        found["unexpected"] += sum(seen.unexpected.values())
        for what, times in seen.unexpected.items():
            print(f"  {name}: {what}, {times} times", file=sys.stderr)

    def ours(name: str, workers: int, load: Load) -> Callable[[], None]:
        def method() -> None:
            with ground.serving(workers) as pids:
                add(name, ground.busy(ground.stand.port, pids, load))

        return method

    def naive() -> None:
        with ground.serving_naive() as (port, pids):
            add("naive", ground.busy(port, pids, terms.load))

    def raw() -> None:
        server_cpu_s = ground.server_cpu_s()
        played = driver.replay(ground.stand.database_url, acts)
        server_cpu_s = ground.server_cpu_s() - server_cpu_s
        found["driver rate"] = played.rate
        found["driver per any CPU-s"] = played.acts / (played.cpu_s + server_cpu_s)

    methods = [ours("ours", 1, terms.load), naive, raw, ours("ours 2", 2, terms.load), ours("writes", 2, terms.writes)]
    methods.append(ours("many writes", 2, terms.many_writes))
    for method in turns(methods, number):
        ground.fresh()
        method()
    return found


def turns(methods: Sequence[Callable[[], None]], number: int) -> list[Callable[[], None]]:
    """The methods in the order of that round: A B, B A, A B, ..."""
    return list(methods) if number % 2 == 0 else list(reversed(methods))


def _told(terms: Terms, found: Round) -> str:
    lines = []
    for name in terms.databases:
        per = found[f"{name}: ours per CPU-s"], found[f"{name}: naive per CPU-s"]
        lines.append(f"{name} {per[0]:.0f} and {per[1]:.0f} requests per CPU-second, {per[0] / per[1]:.1f} x")
    return "; ".join(lines)


def conditions(terms: Terms) -> dict[str, str]:
    """What is to be known about the figures."""
    return {
        "state": f"{USERS} users from seed {SEED}, then {terms.history_s:g} s of the scenario; a copy for each contender",
        "clients": f"{CONNECTIONS} connections that never think, one process on the same cores; {terms.seconds:g} s counted",
        "figures": f"medians of {terms.rounds}; ratios are made within a round",
        "CPU": "of every process of the service; the PostgreSQL server's apart",
        "both cores": "two CPU-seconds of service (2 workers) and server, to one of the driver and its server",
        "raw driver": f"{terms.steps} requests' statements with their values, one thread, a commit for each write",
        "pgbench": f"one insert and one update in a transaction, {pgbench.CLIENTS} clients, simple protocol",
        "session per request": "tests/bench/service/naive: FastAPI, SQLAlchemy's ORM, uvicorn, one process",
        **machine.described(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write `service.json`; 0 when every goal is met, 1 when one is missed, 4 when it broke."""
    parser = argparse.ArgumentParser(description="Measure the service side by side with the obvious version of it.")
    parser.add_argument("--database", choices=tuple(DATABASES), help="this one and not both")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each contender is kept busy (5)")
    given = parser.parse_args(arguments)
    if given.rounds < 1 or given.seconds <= 0:
        parser.error("--rounds is at least 1, --seconds more than 0")
    databases = (DATABASES[given.database],) if given.database else tuple(DATABASES.values())
    terms = Terms(databases, given.rounds, given.seconds)
    about = conditions(terms)
    try:
        rounds = measure(terms, lambda line: print(line, flush=True))
    except (GroundTrouble, StandError, BackupError) as error:
        sys.stderr.write(f"{error}\n")
        return 4
    wanted = [row for name in databases for row in goals.rows(name)]
    rows, missing = judged([*wanted, goals.PGBENCH], rounds)
    return 1 if show(terms.bench, "service", about, rows, missing) else 0


if __name__ == "__main__":
    sys.exit(main())
