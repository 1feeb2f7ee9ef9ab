"""A promise about to be judged: it passes, fails, or stays unknown, and all but a pass say why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ci.record import Criterion, Result


@dataclass(frozen=True, slots=True)
class Promise:
    """What a criterion is before anything was measured; each method makes one outcome of it."""

    id: str
    title: str
    goal: str
    gates: bool = True

    def passes(self, measured: str) -> Criterion:
        """It was kept, as far as was looked."""
        return self._came_out("pass", measured, "")

    def fails(self, measured: str, why: str) -> Criterion:
        """It was seen broken."""
        return self._came_out("fail", measured, why)

    def unknown(self, why: str, measured: str = "not measured") -> Criterion:
        """Nobody can tell."""
        return self._came_out("unknown", measured, why)

    def holds(self, kept: bool, measured: str, why: str = "The goal was missed.") -> Criterion:
        """It was measured, and either kept or not."""
        return self.passes(measured) if kept else self.fails(measured, why)

    def found_none(self, found: Sequence[str], doubt: str) -> Criterion:
        """Each thing found breaks it; nothing found keeps it, unless there is a doubt about the looking."""
        if found:
            return self.fails(str(len(found)), examples(found))
        return self.unknown(doubt, "not known") if doubt else self.passes("0")

    def _came_out(self, result: Result, measured: str, why: str) -> Criterion:
        return Criterion(
            id=self.id, title=self.title, goal=self.goal, measured=measured, result=result, why=why, gates=self.gates
        )


def examples(found: Sequence[str]) -> str:
    """The first three of them, and how many more there are, as a sentence."""
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more + "."
