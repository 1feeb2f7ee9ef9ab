"""How much of the load generator's time the ledger takes, and how long reading it back does."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from loadtests.history import read_history
from loadtests.ledger import Done, Invoke, LedgerWriter
from tests.bench.conftest import Report, Timed
from tests.bench.figures import at_most

pytestmark = pytest.mark.benchmark_only

WRITES = 5_000


def play(path: Path, writes: int) -> None:
    with LedgerWriter(path, "r", "bench") as ledger:
        for number in range(writes):
            op = f"r.{number % 1000}.{number}"
            ledger.write(Invoke(op=op, flow="join", user=number % 1000, t=number / 500))
            ledger.write(
                Done(
                    op=op,
                    flow="join",
                    user=number % 1000,
                    t=number / 500,
                    d=0.004,
                    status=201,
                    outcome="ok",
                    write=True,
                    digest=f"{number:032x}",
                    seq=number,
                    db=1.2,
                )
            )
        ledger.end()


def test_writing_a_ledger(timed: Timed, tmp_path: Path, report: Report) -> None:
    numbers = count()
    seconds = timed(lambda: play(tmp_path / f"{next(numbers)}.jsonl", WRITES), 5)
    lines = 2 * WRITES
    report(at_most("a line written", [one / lines * 1e6 for one in seconds], "µs", 50))


def test_reading_a_ledger(timed: Timed, tmp_path: Path, report: Report) -> None:
    path = tmp_path / "ledger.jsonl"
    play(path, 50_000)
    history = read_history(path)
    assert (len(history.writes()), history.cut_short) == (50_000, "")
    report(at_most("100 000 lines read", timed(lambda: read_history(path), 5), "s", 2))
