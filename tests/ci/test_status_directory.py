"""What the service is told of backups and drills: whole files, and what one does not know is left as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from backups.addresses import store_at
from backups.keeping import status as statuses
from backups.keeping.schedule import Due
from backups.keys.keyring import Keyring
from backups.log.timeline import Gap, Span, Timeline
from backups.vaults import StoreVault
from ci.record import Run
from ci.status_directory import Timelines, named, report, tell_drills
from system import backup_report
from tests.ci import sample_run

HOUR = timedelta(hours=1)


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


def test_the_board_is_told_what_the_timeline_and_the_schedule_say() -> None:
    now = datetime(2026, 11, 23, 9, tzinfo=UTC)
    found = statuses.status([], now, statuses.Limits(), ["s3://b does not answer."])
    course = Timeline(
        spans=(Span(("a", "b"), now - HOUR, "g1", (now - HOUR, now)), Span(("c",), now)),
        gaps=(Gap(now - 2 * HOUR, now - HOUR, None, "cut"), Gap(now, None, now, "broke off")),
        newest=None,
        proved=False,
    )
    due = Due(False, "daily", now + HOUR)
    told = report([], found, stores=["/a", "s3://b"], away=["s3://b does not answer."], due=due, course=course)
    at = now.timestamp()
    assert told.spans == (backup_report.Span(at - 3_600, at, 2), backup_report.Span(at, at, 1))
    assert told.gaps == (backup_report.Gap(at - 7_200, at - 3_600, "cut"), backup_report.Gap(at, None, "broke off"))
    assert (told.at, told.due, told.why_due, told.backups) == (at, at + 3_600, "daily", ())
    assert told.alarms == ("s3://b does not answer.", "There is no backup.")


def test_a_timeline_is_asked_for_now_and_then_and_only_where_there_is_one(tmp_path: Path) -> None:
    vault = StoreVault(store_at(str(tmp_path / "store"), make=True), Keyring.plain())
    rarely, always = Timelines(3_600), Timelines(0)
    first, again = rarely.of(vault), always.of(vault)
    assert first is not None
    assert rarely.of(vault) is first
    assert always.of(vault) is not again


def test_the_directory_is_the_one_that_the_service_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GYM_STATUS_DIR", "")
    assert named() is None
    monkeypatch.setenv("GYM_STATUS_DIR", "/srv/status")
    assert named() == Path("/srv/status")
