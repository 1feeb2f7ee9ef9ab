"""What one load is asked to do, and how that is handed to the process of a load tool: as environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from loadtests.errors import PlanError


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """One load: `users` arrive at `ramp_per_s` a second and stay for `seconds` (0: until the tool is stopped).

    `run` begins every operation id. Everything the load writes goes into `directory`.
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

    @property
    def length_s(self) -> float | None:
        """Seconds from the first user to the end, or None when there is none."""
        return self.users / self.ramp_per_s + self.seconds if self.seconds else None

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
            )
        except KeyError as error:
            raise PlanError(
                f"The variable {error.args[0]} is not set; start load tools with `gymkhana load`."
            ) from error
        except ValueError as error:
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
            )
            if wrong
        ]
