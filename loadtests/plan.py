"""What one load is asked to do, and how that is handed to the process of a load tool: as environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from loadtests.errors import PlanError
from loadtests.shape import Shape, Stage

WORKER = "GYM_LOAD_WORKER"
"""Variable with a worker's number, from 1."""

PLAN_FILE = "plan.json"
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """One load: `users` arrive at `ramp_per_s` a second and stay for `seconds` (0: until the tool is stopped).

    With a `profile` the load takes that shape instead; `users` are then the players who take part. `run` begins every
    operation id. Everything the load writes goes into `directory`. `processes` play it between them, where the tool can;
    with `master` set they are not started here but come to that address by themselves.
    """

    url: str
    users: int
    ramp_per_s: float
    seconds: float
    run: str
    seed: int
    scenario: Path
    population: Path
    directory: Path
    profile: Shape | None = None
    processes: int = 1
    master: str = ""

    @property
    def shape(self) -> Shape:
        """The load's shape; one without an end takes a day."""
        if self.profile is not None:
            return self.profile
        arrive = Stage(seconds=self.users / self.ramp_per_s, target=self.users)
        return Shape("closed", (arrive, Stage(seconds=self.seconds or DAY_S, target=self.users)))

    @property
    def schedule(self) -> Path:
        """Who does what when (`schedule.py`)."""
        return self.directory / "schedule.jsonl"

    @property
    def length_s(self) -> float | None:
        """Seconds from the first user to the end, or None when there is none."""
        return self.shape.length_s if self.profile is not None or self.seconds else None

    @property
    def ledgers(self) -> tuple[Path, ...]:
        """The files that lines are appended to while the load runs; several processes have one each."""
        if self.processes == 1 and not self.master:
            return (self.ledger,)
        return tuple(self.directory / f"ledger-{number}.jsonl" for number in range(1, self.processes + 1))

    @property
    def ledger(self) -> Path:
        """The file the tool appends its lines to."""
        return self.directory / "ledger.jsonl"

    @property
    def samples(self) -> Path:
        """What the tool cost, once a second (`generator.py`)."""
        return self.directory / "generator.jsonl"

    @property
    def log(self) -> Path:
        """What the tool itself printed."""
        return self.directory / "logs" / "load.log"

    @property
    def k6_summary(self) -> Path:
        """Where the k6 script leaves its counters."""
        return self.directory / "logs" / "k6-summary.json"

    def write(self) -> None:
        """The plan lies in its directory, for workers that are started by people."""
        (self.directory / PLAN_FILE).write_bytes(msgspec.json.encode(self.to_environment()))

    def to_environment(self) -> dict[str, str]:
        """The plan as the variables a load tool's process reads."""
        return {
            "GYM_LOAD_URL": self.url,
            "GYM_LOAD_USERS": str(self.users),
            "GYM_LOAD_RAMP": str(self.ramp_per_s),
            "GYM_LOAD_SECONDS": str(self.seconds),
            "GYM_LOAD_RUN": self.run,
            "GYM_LOAD_SEED": str(self.seed),
            "GYM_LOAD_SCENARIO": str(self.scenario.resolve()),
            "GYM_LOAD_POPULATION": str(self.population.resolve()),
            "GYM_LOAD_DIRECTORY": str(self.directory.resolve()),
            "GYM_LOAD_K6_SUMMARY": str(self.k6_summary.resolve()),
            "GYM_LOAD_SCHEDULE": str(self.schedule.resolve()),
            "GYM_LOAD_PROFILE": msgspec.json.encode(self.profile).decode(),
            "GYM_LOAD_SHAPE": msgspec.json.encode(self.shape).decode(),
            "GYM_LOAD_PROCESSES": str(self.processes),
            "GYM_LOAD_MASTER": self.master,
        }

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> Self:
        """The plan `to_environment` wrote. Raises PlanError when a variable is missing or is not what it should be."""
        try:
            return cls(
                url=variables["GYM_LOAD_URL"],
                users=int(variables["GYM_LOAD_USERS"]),
                ramp_per_s=float(variables["GYM_LOAD_RAMP"]),
                seconds=float(variables["GYM_LOAD_SECONDS"]),
                run=variables["GYM_LOAD_RUN"],
                seed=int(variables["GYM_LOAD_SEED"]),
                scenario=Path(variables["GYM_LOAD_SCENARIO"]),
                population=Path(variables["GYM_LOAD_POPULATION"]),
                directory=Path(variables["GYM_LOAD_DIRECTORY"]),
                profile=msgspec.json.decode(variables["GYM_LOAD_PROFILE"], type=Shape | None),
                processes=int(variables["GYM_LOAD_PROCESSES"]),
                master=variables["GYM_LOAD_MASTER"],
            )
        except KeyError as error:
            raise PlanError(
                f"The variable {error.args[0]} is not set; start load tools with `gymkhana load`."
            ) from error
        except (ValueError, msgspec.MsgspecError) as error:
            raise PlanError(f"A variable of the load plan is not a number ({error}); correct it.") from error

    def faults(self) -> list[str]:
        """Every number of the plan that makes no sense, as one sentence each."""
        return [
            sentence
            for wrong, sentence in (
                (self.users < 1, f"{self.users} users were asked for; ask for 1 or more."),
                (
                    self.ramp_per_s <= 0,
                    f"A ramp of {self.ramp_per_s:g} users a second never arrives; ask for more than 0.",
                ),
                (self.seconds < 0, f"{self.seconds:g} seconds were asked for; ask for 0 (until stopped) or more."),
                (self.processes < 1, f"{self.processes} processes were asked for; ask for 1 or more."),
                (
                    self.processes > self.users > 0,
                    f"{self.processes} processes cannot share {self.users} users; ask for as many users at least.",
                ),
                (
                    (self.processes > 1 or bool(self.master)) and self.shape.model == "open",
                    "The open model is played by one process; leave the processes out, or name a closed profile.",
                ),
            )
            if wrong
        ]
