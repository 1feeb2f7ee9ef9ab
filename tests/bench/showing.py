"""How a benchmark that runs by itself ends: a file of what it found, the same as a table, and an exit code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.figures import Row, table, write
from tests.bench.goals import exit_code, summary


def show(bench: Path, name: str, about: Mapping[str, str], rows: Sequence[Row], missing: Sequence[str]) -> int:
    """`bench`/`name`.json is written, its rows are printed with what is to be known about them; the exit code."""
    path = write(bench, name, rows, conditions=dict(about), missing=list(missing))
    print()
    for what, value in about.items():
        print(f"{what}: {value}")
    print()
    for line in table({name: list(rows)}):
        print(line)
    print(f"\n{summary(rows, missing)}\n{path}")
    return exit_code(rows, missing)
