"""The watch of one process: what it reads from files, what it keeps over a restart, and what it does without a disk."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Gauge

from system import metrics
from system.alerts import board, decisions
from system.alerts.notices import Told
from system.alerts.states import Course
from system.alerts.watch import Watch
from system.metrics import Page
from system.settings import Settings
from system.status_files import Drilled, StatusFiles
from tests.system.alerts.receiving import Hook, hook

NOW = 1_790_000_000.0
HOUR_S = 3600.0


@pytest.fixture(autouse=True)
def figures_of_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other services in this process have said of themselves, a full disk or a damaged database, is nothing here."""
    own = CollectorRegistry()
    Gauge("gymkhana_ready", "As a service that is there says it.", registry=own).set(1)
    monkeypatch.setattr(metrics, "REGISTRY", own)


def settings(directory: Path, **more: Any) -> Settings:
    given: dict[str, Any] = {
        "DATABASE_URL": f"sqlite:///{directory}/gym.db",
        "runtime": directory / "runtime",
        "status_dir": directory / "status",
        "alert_interval_s": 0.01,
    }
    return Settings(**given | more)


def watch(config: Settings) -> Watch:
    config.runtime_directory().mkdir(exist_ok=True)
    assert config.status_dir is not None
    config.status_dir.mkdir(exist_ok=True)
    return Watch(config, Page(config.port, config.runtime_directory(), None, StatusFiles(config.status_dir)))


def drilled(directory: Path, **verdicts: str) -> None:
    told = {name: Drilled(verdict, NOW) for name, verdict in verdicts.items()}
    (directory / "status" / "drills.json").write_bytes(msgspec.json.encode(told))


def backed_up(directory: Path, **gauges: float) -> None:
    path = directory / "status" / "backups.prom"
    path.write_text("".join(f"# TYPE {name} gauge\n{name} {value}\n" for name, value in gauges.items()))
    os.utime(path, (NOW, NOW))


def states(one: Watch, now: float) -> dict[str, str]:
    return {alert.name: alert.state for alert in one.look(now) if alert.state != "inactive"}


def test_a_missed_backup_fires_when_nobody_is_left_to_say_so(tmp_path: Path) -> None:
    one = watch(settings(tmp_path))
    backed_up(tmp_path, gymkhana_backup_timestamp_seconds=NOW - 60)
    assert states(one, NOW) == {}
    assert states(one, NOW + 2 * HOUR_S) == {"BackupStatusOld": "pending"}
    assert states(one, NOW + 27 * HOUR_S) == {"BackupStatusOld": "firing", "BackupMissed": "firing"}


def test_that_there_is_no_backup_at_all_is_a_missed_one(tmp_path: Path) -> None:
    one = watch(settings(tmp_path))
    backed_up(tmp_path, gymkhana_backup_timestamp_seconds=0)
    assert states(one, NOW) == {"BackupMissed": "firing"}


@pytest.mark.parametrize("content", [None, "", "garbage {", "other_metric 1\n# no backup\n"])
def test_a_status_file_that_says_nothing_is_as_good_as_none(content: str | None, tmp_path: Path) -> None:
    one = watch(settings(tmp_path))
    if content is not None:
        (tmp_path / "status" / "backups.prom").write_text(content)
    found = states(one, NOW)
    assert "BackupMissed" not in found
    assert found == ({} if content and "other" in content else {"BackupStatusOld": "pending"})


def test_without_a_status_directory_nothing_is_said_of_backups(tmp_path: Path) -> None:
    config = settings(tmp_path, status_dir=None)
    config.runtime_directory().mkdir()
    assert states(Watch(config, Page(config.port, config.runtime_directory())), NOW) == {}


def test_a_drill_that_failed_fires_until_that_drill_passes(tmp_path: Path) -> None:
    one = watch(settings(tmp_path))
    backed_up(tmp_path, gymkhana_backups=1)
    drilled(tmp_path, crash="pass", lost="fail")
    assert states(one, NOW) == {"DrillFailed": "firing"}
    drilled(tmp_path, crash="unknown", lost="pass")
    assert states(one, NOW + 1) == {"DrillFailed": "firing"}
    drilled(tmp_path, crash="pass", lost="pass")
    assert states(one, NOW + 2) == {"DrillFailed": "resolved"}


def test_only_figures_of_the_backups_are_told_from_that_file(tmp_path: Path) -> None:
    config = settings(tmp_path)
    watch(config)
    backed_up(tmp_path, gymkhana_backups=3, gymkhana_ready=7, node_load1=9)
    assert config.status_dir is not None
    found = {one.name for family in StatusFiles(config.status_dir).collect() for one in family.samples}
    assert found == {"gymkhana_backups", "gymkhana_status_timestamp_seconds"}


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def run(one: Watch, condition: Any) -> None:
    """The watch runs until the condition holds."""

    async def running() -> None:
        task = asyncio.create_task(one.run())
        try:
            await until(condition)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    asyncio.run(running())


def record(config: Settings) -> board.Record | None:
    return board.record(board.place(config.runtime_directory()))


def test_what_fires_is_told_once_also_over_a_restart_and_so_is_its_end(tmp_path: Path) -> None:
    with hook() as there:
        config = settings(tmp_path, alert_webhooks=there.url)
        _story_over_a_restart(tmp_path, config, there)


def _story_over_a_restart(directory: Path, config: Settings, there: Hook) -> None:
    def told() -> bool:
        kept = record(config)
        return kept is not None and "DrillFailed" in kept.told.get("webhook-1", {}).get("warning", _NOTHING).firing

    one = watch(config)
    drilled(directory, crash="fail")
    (directory / "status" / "backups.prom").write_text("gymkhana_backups 1\n")
    run(one, told)
    assert there.told() == [("firing", ["DrillFailed"])]

    again = watch(config)
    began = again._looked
    run(again, lambda: again._looked != began and again.document()["firing"] == 1)
    assert there.told() == [("firing", ["DrillFailed"])]

    drilled(directory, crash="pass")
    run(watch(config), lambda: len(there.bodies) == 2)
    assert there.told() == [("firing", ["DrillFailed"]), ("resolved", ["DrillFailed"])]


_NOTHING = Told()


def test_what_is_not_known_yet_after_a_restart_is_not_over(tmp_path: Path) -> None:
    """Errors are counted over five minutes, of which the new process has seen none."""
    config = settings(tmp_path, status_dir=None)
    place = board.place(config.runtime_directory())
    place.mkdir(parents=True)
    before = Course("ErrorRate", "firing", since=NOW - 100, fired=NOW - 50, value=0.4)
    gone = Course("DatabaseReplaced", "firing", since=NOW - 100, fired=NOW - 50, value=1.0)
    kept = board.Record(NOW, 5.0, {"ErrorRate": before, "DatabaseReplaced": gone, "NoSuchRule": before})
    (place / "alerts.json").write_bytes(msgspec.json.encode(kept))
    one = Watch(config, Page(config.port, config.runtime_directory()))
    one._take_up()
    assert states(one, NOW) == {"ErrorRate": "firing", "DatabaseReplaced": "resolved"}
    assert states(one, NOW + 299)["ErrorRate"] == "firing"
    assert states(one, NOW + 301)["ErrorRate"] == "resolved"


def test_it_goes_on_in_memory_where_no_file_can_be_written(tmp_path: Path) -> None:
    config = settings(tmp_path)
    one = watch(config)
    board.place(config.runtime_directory()).write_text("in the way")
    drilled(tmp_path, crash="fail")
    run(one, lambda: not one.late(time.time()) and one.document()["firing"] >= 1)
    names = [alert["name"] for alert in one.document()["alerts"] if alert["state"] == "firing"]
    assert "DrillFailed" in names


def test_a_board_sees_why_since_when_and_what_to_do(tmp_path: Path) -> None:
    config = settings(tmp_path)
    one = watch(config)
    drilled(tmp_path, crash="fail")
    run(one, lambda: record(config) is not None)
    rules = one._rules
    seen = board.acknowledge(config.runtime_directory(), rules, "DrillFailed", by="me", why="I look")
    told = board.read(config.runtime_directory(), rules, seen.at)
    (alert,) = [alert for alert in told["alerts"] if alert["name"] == "DrillFailed"]
    assert alert["state"] == "acknowledged"
    assert alert["acknowledged"] | {"at": "", "since": ""} == {
        "alert": "DrillFailed", "by": "me", "why": "I look", "at": "", "since": "",
    }  # fmt: skip
    assert alert["since"].endswith("Z")
    assert alert["condition"] == "min(gymkhana_drill_passed) < 1"
    assert alert["what_to_do"]
    assert json.loads(json.dumps(told)) == told
    assert board.late(config.runtime_directory(), seen.at) == ""
    assert "does not run" in board.late(config.runtime_directory(), seen.at + 60)


def test_decisions_that_cannot_be_read_do_not_end_the_watch(tmp_path: Path) -> None:
    config = settings(tmp_path)
    one = watch(config)
    drilled(tmp_path, crash="fail")
    place = board.place(config.runtime_directory())
    decisions.silence(place, {"alertname": "DrillFailed"}, now=NOW, lasting_s=60, by="me", why="")
    assert states(one, NOW)["DrillFailed"] == "silenced"
    (place / "decisions.json").write_text("{")
    assert states(one, NOW + 1)["DrillFailed"] == "silenced", "what was said before counts"


def test_a_silence_hides_from_receivers_and_its_end_shows(tmp_path: Path) -> None:
    with hook() as there:
        config = settings(tmp_path, alert_webhooks=there.url)
        one = watch(config)
        runtime, rules = config.runtime_directory(), one._rules
        (tmp_path / "status" / "backups.prom").write_text("gymkhana_backups 1\n")
        made = board.silence(runtime, rules, {"alertname": "DrillFailed"}, lasting_s=600, by="me", why="a rehearsal")
        drilled(tmp_path, crash="fail")

        def silenced() -> bool:
            (alert,) = [alert for alert in one.document()["alerts"] if alert["name"] == "DrillFailed"]
            return bool(alert["state"] == "silenced")

        async def story() -> None:
            running = asyncio.create_task(one.run())
            await until(silenced)
            looked = one._looked
            await until(lambda: one._looked != looked)
            assert there.told() == []
            board.unsilence(runtime, made.id)
            await until(lambda: bool(there.bodies))
            running.cancel()

        asyncio.run(story())
        assert there.told() == [("firing", ["DrillFailed"])]
