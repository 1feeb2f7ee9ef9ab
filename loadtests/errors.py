"""What this room can say no with. Each message is one sentence: what failed, on what, and what to do next."""

from __future__ import annotations

from typing import ClassVar


class LoadError(Exception):
    """Base of the family. `exit_code` is what a process that ends on this error exits with."""

    exit_code: ClassVar[int] = 1


class ScenarioError(LoadError):
    """The scenario file cannot be used. Nothing was started. `problems` holds every fault found in the file, in order."""

    exit_code = 2

    def __init__(self, problems: tuple[str, ...]) -> None:
        more = len(problems) - 1
        super().__init__(problems[0] if not more else f"{problems[0]} (The file has {more} more such faults.)")
        self.problems = problems


class PopulationError(LoadError):
    """The population cannot play the scenario: the file is unreadable, too small, or lacks what a flow needs."""

    exit_code = 2


class PlanError(LoadError):
    """A load plan asks for the impossible: no users, a directory in use, a limit too low."""

    exit_code = 2


class RecruitError(LoadError):
    """The service refused, or did not answer, while users were being signed up."""


class LedgerError(LoadError):
    """The ledger could not be written or read. A load that cannot write its ledger stops: its promises would be lost."""

    exit_code = 4


class ToolError(LoadError):
    """A load tool is missing, did not start, or broke."""

    exit_code = 4
