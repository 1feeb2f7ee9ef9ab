"""What the service is told of backups and drills: whole files, and what one does not know is left as it was."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from ci.record import Run
from ci.status_directory import named, tell_drills
from tests.ci import sample_run


def told(directory: Path) -> dict[str, str]:
    return {name: one["verdict"] for name, one in json.loads((directory / "drills.json").read_bytes()).items()}


def run(drill: str, verdict: Run) -> Run:
    return msgspec.structs.replace(verdict, drill=drill)


def test_a_drill_that_failed_stays_failed_until_that_drill_passes(tmp_path: Path) -> None:
    place = tmp_path / "status"
    tell_drills(place, [run("crash", sample_run.failing())])
    tell_drills(place, [run("lost-database", sample_run.passing())])
    assert told(place) == {"crash": "fail", "lost-database": "pass"}
    tell_drills(place, [run("crash", sample_run.unknown())])
    assert told(place) == {"crash": "unknown", "lost-database": "pass"}
    tell_drills(place, [run("crash", sample_run.passing())])
    assert told(place) == {"crash": "pass", "lost-database": "pass"}


def test_a_file_that_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "drills.json").write_text("{")
    tell_drills(tmp_path, [sample_run.passing()])
    assert list(told(tmp_path).values()) == ["pass"]


def test_the_directory_is_the_one_that_the_service_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GYM_STATUS_DIR", "")
    assert named() is None
    monkeypatch.setenv("GYM_STATUS_DIR", "/srv/status")
    assert named() == Path("/srv/status")
