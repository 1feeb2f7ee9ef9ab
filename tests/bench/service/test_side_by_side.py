"""The benchmark itself, for half a second of everything: it measures what it says, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.goals import judged
from tests.bench.service import goals, side_by_side


def test_the_contenders_take_turns() -> None:
    said: list[str] = []
    methods = [lambda: said.append("a"), lambda: said.append("b")]
    for number in range(3):
        for method in side_by_side.turns(methods, number):
            method()
    assert "".join(said) == "abbaab"


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--seconds", "0"], ["--database", "oracle"]])
def test_terms_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        side_by_side.main(words)
    assert ended.value.code == 2


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_a_round_measures_everything_and_leaves_nothing(tmp_path: Path) -> None:
    terms = side_by_side.Terms(rounds=1, seconds=1.0, warm_s=0.2, history_s=0.5, steps=200, bench=tmp_path)
    said: list[str] = []
    wanted = [row for name in terms.databases for row in goals.rows(name)]
    rows, missing = judged([*wanted, goals.PGBENCH], side_by_side.measure(terms, said.append))
    assert missing == []
    assert all(row.value > 0 for row in rows if "server" not in row.name and "nobody" not in row.name)
    assert len(said) == 2
    assert list(tmp_path.iterdir()) == []
