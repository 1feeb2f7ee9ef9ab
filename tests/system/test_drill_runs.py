"""What drills left, as a board reads it: the newest first, nothing from outside, and a policy for their pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from system import drill_runs
from system.admin.boards.drill_routes import policy
from system.admin.boards.trend import HEIGHT, TOP, trend
from system.drill_runs import Drilled


def leave(runs: Path, number: int, **more: Any) -> str:
    """A run of that number, newer than those before; its id."""
    run_id = f"202611{number // 24 + 1:02}T{number % 24:02}0000Z-crash-{number:04x}"
    place = runs / run_id
    place.mkdir(parents=True)
    record = {
        "format": 1, "id": run_id, "drill": "crash", "verdict": "pass", "began": "2026-11-01T00:00:00Z", "duration_s": 48.2,
        "seed": 7, "rto": {"total_s": 1.0 + number, "phases": []}, "rpo": {"acked": 10, "lost": 0, "seconds": 0.0},
        "criteria": [{"id": "RTO", "title": "", "goal": "", "measured": "", "result": "pass"}], "series": {"t": [1, 2]},
    }  # fmt: skip
    (place / "run.json").write_text(json.dumps(record | more))
    (place / "report.html").write_text("<title>Report</title>")
    return run_id


def test_the_newest_runs_come_first_and_no_more_than_asked(tmp_path: Path) -> None:
    ids = [leave(tmp_path, number) for number in range(5)]
    assert [run.id for run in drill_runs.newest(tmp_path, 3)] == ids[:1:-1]
    assert drill_runs.newest(tmp_path / "none", 3) == ()


def test_what_is_no_run_is_left_out(tmp_path: Path) -> None:
    good = leave(tmp_path, 1)
    moved = leave(tmp_path, 2)
    (tmp_path / moved).rename(tmp_path / moved.replace("crash", "moved"))
    (tmp_path / leave(tmp_path, 3) / "run.json").write_text("{")
    (tmp_path / "latest").symlink_to(good)
    (tmp_path / "20261101T000000Z-suite-aaaa").mkdir()
    assert [run.id for run in drill_runs.newest(tmp_path, 50)] == [good]


def test_a_run_that_was_judged_again_is_read_again(tmp_path: Path) -> None:
    run_id = leave(tmp_path, 1)
    assert drill_runs.newest(tmp_path, 1)[0].verdict == "pass"
    path = tmp_path / run_id / "run.json"
    path.write_text(path.read_text().replace('"pass", "began"', '"fail", "began"') + "\n")
    assert drill_runs.newest(tmp_path, 1)[0].verdict == "fail"


def test_only_promises_that_decide_are_called_broken(tmp_path: Path) -> None:
    criteria = [
        {"id": "A", "result": "fail"},
        {"id": "B", "result": "unknown"},
        {"id": "C", "result": "fail", "gates": False},
    ]
    leave(tmp_path, 1, criteria=criteria, rto=None, rpo=None)
    (run,) = drill_runs.newest(tmp_path, 1)
    assert run.broken == ("A", "B")


@pytest.mark.parametrize(
    "run_id", ["..", "../secret", "latest", "", "20261101T000000Z-crash-0001/../../secret", "\x00"]
)
def test_nothing_but_a_report_of_a_run_is_opened(tmp_path: Path, run_id: str) -> None:
    (tmp_path / "report.html").write_text("secret")
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "report.html").write_text("secret")
    assert drill_runs.report(tmp_path, run_id) is None
    assert drill_runs.report(tmp_path, leave(tmp_path, 1)) == b"<title>Report</title>"


def test_a_report_may_run_what_it_names_by_hash_and_nothing_else() -> None:
    digest = "a" * 43 + "="
    said = policy(f"<meta content=\"style-src 'sha256-{digest}'; script-src 'unsafe-inline'\">".encode())
    assert f"style-src 'sha256-{digest}'" in said
    assert "script-src 'none'" in said
    assert "unsafe" not in said
    assert said.startswith("sandbox allow-scripts;")
    assert "allow-same-origin" not in said


def runs(*verdicts: str) -> list[Drilled]:
    return [
        Drilled(id=str(place), drill="crash", verdict=one, began="", duration_s=1, seed=1)
        for place, one in enumerate(verdicts)
    ]


def test_a_trend_keeps_the_place_of_what_has_no_figure() -> None:
    first, second, third = runs("pass", "unknown", "fail")
    drawn = trend("RTO", "seconds", [(first, 3.0), (second, None), (third, 5.0)])
    assert drawn is not None
    assert [point.x for point in drawn.points] == [48.0, 708.0]
    assert drawn.points[1].y == TOP, "five is the top of a scale to five"
    assert drawn.points[0].y > drawn.points[1].y
    assert [value for _, value in drawn.scale] == ["0", "2.5", "5"]
    assert (drawn.missing, drawn.line.count(",")) == (1, 2)
    assert trend("RTO", "", [(second, None)]) is None


def test_a_trend_of_nothing_but_zeros_lies_on_the_ground() -> None:
    drawn = trend("RPO", "seconds", [(one, 0.0) for one in runs("pass", "pass")])
    assert drawn is not None
    assert {point.y for point in drawn.points} == {HEIGHT - 24.0}
