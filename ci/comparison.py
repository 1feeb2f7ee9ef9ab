"""The same load by several tools, one after the other, each on a server of its own; what they say is compared.

The server is the reference server, so that all tools meet the same draws of a known law, or a stand of the service, filled
from the same seed. Where the system lets it, a comparison goes before whatever else the machine does: two milliseconds are
soon waited for a core.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from ci.stand import Stand, standing
from loadtests import population, scenario_file
from loadtests.agreement import Certificate, Played, certify
from loadtests.assessment import assess
from loadtests.errors import ToolError
from loadtests.generator import read_samples
from loadtests.history import read_history
from loadtests.law import laws
from loadtests.plan import LoadPlan
from loadtests.population import Match, Player, Population, Tournament
from loadtests.reference_process import serving
from loadtests.tools import load_tool
from loadtests.witness import Witness

Against = Literal["reference", "service"]
USERS_PER_TOURNAMENT = 50

REACH = {50: 95, 95: 99}
"""A percentile of a sum lies beyond the law's only by as much as a higher percentile of what the machine adds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is compared: these tools, playing this load with this seed, into `directory/<tool>`."""

    tools: Sequence[str]
    against: Against
    scenario: Path
    users: int
    ramp_per_s: float
    seconds: float
    seed: int
    directory: Path

    @property
    def length_s(self) -> float:
        """How long the loads take, all of them."""
        return len(self.tools) * (self.users / self.ramp_per_s + self.seconds)


def compare(terms: Terms, told: Callable[[str], None] = lambda _tool: None) -> Certificate:
    """The certificate, which lies in `directory/certificate.json` too. `told` hears of each tool before it starts.

    Raises LoadError when a tool is not here or broke, and StandError when its stand did.
    """
    scenario = scenario_file.read(terms.scenario)
    plays = []
    with _before_others():
        for tool in terms.tools:
            told(tool)
            plays.append(_played(terms, tool))
    certificate = certify(plays, laws(scenario, terms.seed) if terms.against == "reference" else None)
    document = msgspec.json.format(msgspec.json.encode(certificate), indent=1)
    (terms.directory / "certificate.json").write_bytes(document + b"\n")
    return certificate


def _played(terms: Terms, tool: str) -> Played:
    """One tool's play, on a server that is gone when this returns."""
    directory = terms.directory / tool
    directory.mkdir(parents=True)
    scenario = scenario_file.read(terms.scenario)
    with _server(terms, directory) as (url, people, witness):
        plan = LoadPlan(
            url=url,
            users=terms.users,
            ramp_per_s=terms.ramp_per_s,
            seconds=terms.seconds,
            run=f"{terms.directory.name}-{tool}",
            seed=terms.seed,
            scenario=terms.scenario,
            population=people,
            directory=directory,
        )
        with load_tool(tool).start(plan) as load:
            load.wait()
        if load.fault:
            raise ToolError(load.fault)
    found = assess(read_history(plan.ledger), scenario, read_samples(plan.samples))
    late_ms = {percent: witness.excess_ms(beyond) for percent, beyond in REACH.items()} if witness else {}
    return Played(tool, found.whole, found.steady, found.doubts, late_ms)


@contextmanager
def _before_others() -> Iterator[None]:
    """Processes started in the block are served first, where this one may ask for that."""
    usual, how = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
    try:
        yield
    finally:
        os.sched_setscheduler(0, usual, how)


@contextmanager
def _server(terms: Terms, directory: Path) -> Iterator[tuple[str, Path, Witness | None]]:
    """Address, users, and a witness where the server is the reference server."""
    if terms.against == "reference":
        people = directory / "population.json"
        population.write(strangers(terms.users), people)
        with (
            serving(terms.scenario, people, terms.seed, directory / "reference.log") as reference,
            Witness(reference.port) as witness,
        ):
            yield reference.url, people, witness
    else:
        stand = Stand(directory / "stand")
        with standing(stand):
            tournaments = max(terms.users // USERS_PER_TOURNAMENT, 4)
            stand.build(users=terms.users, tournaments=tournaments, matches=terms.users, seed=terms.seed)
            stand.start()
            stand.wait_ready()
            yield stand.url, stand.population, None


def strangers(users: int) -> Population:
    """Users whom no service has to know, for a server that only looks at their tokens."""
    tournaments = tuple(
        Tournament(number, 1, open=True) for number in range(1, max(users // USERS_PER_TOURNAMENT, 4) + 1)
    )
    return Population(
        run="reference",
        users=tuple(Player(number, f"u{number:04d}", f"token-{number}") for number in range(1, users + 1)),
        tournaments=tournaments,
        matches=tuple(Match(number, number, number % users + 1, 1) for number in range(1, users + 1)),
        password="the reference server asks for none",  # noqa: S106  and looks at none
    )
