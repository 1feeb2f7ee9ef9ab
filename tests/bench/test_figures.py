"""Figures: a median against its goal, kept in a file and shown in a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.figures import Row, at_least, at_most, plain, table, write
from tests.bench.showing import show


@pytest.mark.parametrize(("samples", "met"), [([1.0, 2.0, 9.0], True), ([1.0, 2.1, 2.1], False)])
def test_a_ceiling_is_held_against_the_median(samples: list[float], met: bool) -> None:
    assert at_most("time", samples, "s", 2) == Row("time", samples[1], "s", "<= 2", met, tuple(samples))


@pytest.mark.parametrize(("samples", "met"), [([1.0, 2.0, 9.0], True), ([1.0, 1.9, 9.0], False)])
def test_a_floor_is_held_against_the_median(samples: list[float], met: bool) -> None:
    assert at_least("rate", samples, "x", 2) == Row("rate", samples[1], "x", ">= 2", met, tuple(samples))


def test_rows_are_written_with_their_samples(tmp_path: Path) -> None:
    path = write(tmp_path, "toys", [at_most("time", [3.0], "s", 2)])
    assert json.loads(path.read_text("utf-8")) == {
        "name": "toys",
        "rows": [{"name": "time", "value": 3.0, "unit": "s", "goal": "<= 2", "met": False, "samples": [3.0]}],
    }
    assert list(tmp_path.iterdir()) == [tmp_path / "toys.json"]


def test_a_table_shows_a_missed_goal() -> None:
    (_, line) = table({"toys": [at_most("time", [1234.5], "s", 2)]})
    assert line.split() == ["toys", "time", "1,234", "s", "<=", "2", "no", "1"]


def test_a_figure_without_a_goal_is_neither_met_nor_missed() -> None:
    (_, line) = table({"toys": [plain("time", [3.0, 1.0, 2.0], "s")]})
    assert line.split() == ["toys", "time", "2", "s", "3"]


def test_what_is_to_be_known_about_the_rows_is_written_with_them(tmp_path: Path) -> None:
    path = write(tmp_path, "toys", [], machine={"cores": 2})
    assert json.loads(path.read_text("utf-8")) == {"name": "toys", "machine": {"cores": 2}, "rows": []}


@pytest.mark.parametrize(
    ("sample", "missing", "code"), [(2.0, [], 0), (3.0, [], 1), (3.0, ["rate"], 1), (2.0, ["rate"], 3)]
)
def test_what_is_shown_is_kept_and_a_missed_goal_is_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sample: float, missing: list[str], code: int
) -> None:
    assert show(tmp_path, "toys", {"cores": "2"}, [at_most("time", [sample], "s", 2)], missing) == code
    shown = capsys.readouterr().out
    assert "cores: 2" in shown
    assert f"{len(missing)} figures not measured" in shown
    assert json.loads((tmp_path / "toys.json").read_text("utf-8"))["missing"] == missing
