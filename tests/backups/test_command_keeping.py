"""`gymkhana backup status`, `prune`, `resync`, `run --if-due`, and `gymkhana schedule` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backups.errors import StoreError, UsageError
from system import backup_report
from tests.backups import databases
from tests.backups.asking import ask, invoke, refused
from tests.backups.house import Chain, House

ROOT = Path(__file__).parents[2]


def alarms(*arguments: str) -> list[str]:
    """The names of the alarms that are on, which the exit code agrees with."""
    result = invoke("status", *arguments, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == (0 if told["ok"] else 1)
    return [alarm["name"] for alarm in told["alarms"]]


@pytest.fixture
def store(house: House) -> list[str]:
    return ["--store", house.store.address]


def test_good_backups_raise_no_alarm(house: House, store: list[str]) -> None:
    assert alarms(*store) == []
    told = invoke("status", *store)
    assert told.exit_code == 0
    assert "good       2 of 2" in told.stdout
    assert "verified   none" in told.stdout
    assert told.stdout.endswith("No alarm.\n")


@pytest.mark.parametrize(
    ("limits", "raised"),
    [
        (["--max-age", "1s"], ["missed"]),
        (["--max-unverified", "48h"], ["unverified"]),
        (["--max-unrehearsed", "8d"], ["unrehearsed"]),
        (
            ["--max-age", "1s", "--max-unverified", "1h", "--max-unrehearsed", "8d"],
            ["missed", "unverified", "unrehearsed"],
        ),
    ],
)
def test_each_limit_raises_its_alarm(house: House, store: list[str], limits: list[str], raised: list[str]) -> None:
    databases.wait_until(lambda: alarms("--max-age", "1s", *store) == ["missed"], "the newest is older than a second")
    assert alarms(*limits, *store) == raised


def test_a_damaged_manifest_is_an_alarm_for_people_and_machines(house: House, store: list[str]) -> None:
    databases.flip(house.manifest_of(house.newer), 40)
    assert alarms(*store) == ["suspect"]
    told = invoke("status", *store)
    assert told.exit_code == 1
    assert f"ALARM suspect: {house.newer.id}" in told.stdout
    assert "good       1 of 2" in told.stdout


def test_a_store_that_is_away_is_an_alarm(house: House, store: list[str], tmp_path: Path) -> None:
    assert alarms(*store, "--store", str(tmp_path / "not mounted")) == ["store-away"]


def test_an_empty_store_is_a_missed_backup_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert alarms("--store", str(tmp_path / "empty")) == ["missed"]


def test_gauges_for_prometheus(house: House, store: list[str]) -> None:
    result = invoke("status", "--prometheus", "--max-unverified", "1h", *store)
    assert result.exit_code == 1
    values = dict(line.split() for line in result.stdout.splitlines() if not line.startswith("#"))
    assert (values["gymkhana_backups"], values["gymkhana_backup_alarms"]) == ("2", "1")
    assert values["gymkhana_backup_verified_age_seconds"] == "NaN"
    assert float(values["gymkhana_backup_age_seconds"]) >= 0
    assert values["gymkhana_backup_verified_timestamp_seconds"] == "0.0"


def test_gauges_go_into_a_file_as_a_whole(house: House, store: list[str], tmp_path: Path) -> None:
    out = tmp_path / "backups.prom"
    out.write_text("old")
    result = invoke("status", "--prometheus", "--out", str(out), *store)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "\ngymkhana_backups 2\n" in out.read_text()
    assert list(tmp_path.glob("backups.prom*")) == [out]
    result = invoke("status", "--json", "--out", str(out), *store)
    assert result.exit_code == 2
    assert "--out is for --prometheus" in result.output


def test_what_the_service_reads_is_left_in_its_directory(house: House, store: list[str], tmp_path: Path) -> None:
    place = tmp_path / "made" / "for-it"
    result = invoke("status", "--status-dir", str(place), "--max-unverified", "1h", "--json", *store)
    assert (result.exit_code, json.loads(result.stdout)["ok"]) == (1, False)
    assert "\ngymkhana_backups 2\n" in (place / "backups.prom").read_text()
    told = msgspec.json.decode((place / backup_report.NAME).read_bytes(), type=backup_report.Report)
    assert [one.id for one in told.backups] == [house.older.id, house.newer.id]
    assert (len(told.spans or ()), told.due) == (2, None)
    assert told.alarms
    assert sorted(path.name for path in place.iterdir()) == [backup_report.NAME, "backups.prom"]


def test_the_detail_of_a_health_check(house: House, store: list[str]) -> None:
    result = invoke("status", "--health", "--max-unverified", "1h", *store)
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["status"] == "fail"
    (verified,) = told["checks"]["backups:verifiedAge"]
    assert verified == {
        "observedValue": None,
        "observedUnit": "s",
        "status": "fail",
        "output": "There is no verified backup.",
    }
    assert {name for name, (one,) in told["checks"].items() if one["status"] == "fail"} == {"backups:verifiedAge"}
    well = json.loads(invoke("status", "--health", *store).stdout)
    assert (well["status"], well["output"]) == ("pass", "")


def test_one_form_of_answer_at_a_time(house: House, store: list[str]) -> None:
    result = invoke("status", "--health", "--prometheus", *store)
    assert result.exit_code == 2
    assert "Say one of" in result.output


@pytest.mark.parametrize("limit", ["soon", "-3h", "5", "0h"])
def test_a_limit_that_is_no_time_is_refused(house: House, store: list[str], limit: str) -> None:
    assert "is not a length of time" in refused(UsageError, 2, "status", f"--max-age={limit}", *store)


LEAN = ["--recent", "0", "--daily", "1", "--weekly", "1", "--monthly", "1", "--verified", "1"]


def test_what_no_rule_keeps_is_marked_and_goes_after_the_grace(house: House, store: list[str]) -> None:
    dry = ask("prune", "--dry-run", *LEAN, *store)
    assert (dry["marked"], dry["dry_run"]) == ([house.older.id], True)
    assert [one["state"] for one in ask("list", *store)["backups"]] == ["complete", "complete"]
    told = invoke("prune", *LEAN, *store).stdout
    assert f"{house.older.id}  mark" in told
    assert [one["state"] for one in ask("list", *store)["backups"]] == ["complete", "expired"]
    assert ask("prune", *LEAN, *store)["deleted"] == []
    gone = ask("prune", *LEAN, "--grace", "0.001s", *store)
    assert gone["deleted"] == [house.older.id]
    assert [one["id"] for one in ask("list", *store)["backups"]] == [house.newer.id]


def test_nothing_goes_that_something_kept_builds_on(chain: Chain) -> None:
    store = ["--store", chain.store.address]
    pruned = ask("prune", *LEAN, *store)
    assert pruned["marked"] == []
    assert len(pruned["decisions"]) == 3
    assert all(one["reason"] for one in pruned["decisions"])


@pytest.mark.parametrize("option", [["--verified", "0"], ["--daily", "-1"]])
def test_a_policy_that_keeps_nothing_is_refused(house: House, store: list[str], option: list[str]) -> None:
    assert invoke("prune", *option, *store).exit_code == 2
    assert len(ask("list", *store)["backups"]) == 2


def test_a_store_that_was_away_is_brought_level(house: House, store: list[str], tmp_path: Path) -> None:
    other = tmp_path / "other"
    refused(StoreError, 1, "resync", *store, "--store", str(other))
    other.mkdir()
    told = ask("resync", *store, "--store", str(other))
    assert told["copied"]
    alone = ["--store", str(other)]
    assert ask("resync", *store, *alone)["copied"] == []
    assert [one["id"] for one in ask("list", *alone)["backups"]] == [house.newer.id, house.older.id]
    assert ask("verify", "--all", *alone)["verifications"][1]["ok"] is True


def test_a_backup_is_made_once_when_it_is_due(place: Path) -> None:
    daily = ["run", "--demo", "--if-due", "0 2 * * *"]
    made = ask(*daily)
    assert made["sequence"] == 1
    again = ask(*daily)
    assert again["made"] is False
    assert "was taken since" in again["why"]
    assert again["next"].endswith("T02:00:00.000Z")
    assert invoke(*daily).stdout.startswith("No backup is due: ")
    assert len(ask("list")["backups"]) == 1


def test_a_cron_expression_that_is_none_is_refused_and_makes_nothing(place: Path) -> None:
    assert "write five fields" in refused(UsageError, 2, "run", "--demo", "--if-due", "every night")
    assert not (place / "var" / "backups").exists()


def test_machines_see_the_progress_as_it_is_made(place: Path) -> None:
    database = databases.make(place / "large.db", rows=30_000)
    assert database.stat().st_size > 2_500_000
    result = invoke("run", "--database", str(database), "--store", "paced", "--demo", "--pace", "1", "--json")
    told = [json.loads(line) for line in result.stderr.splitlines()]
    assert json.loads(result.stdout)["sequence"] == 1
    assert told
    for one in told:
        assert set(one) == {"phase", "done_bytes", "total_bytes", "rate_bytes_s", "eta_s"}
        assert 0 <= one["done_bytes"] <= one["total_bytes"]


class Scheduler:
    """`gymkhana schedule` in a process, and what it told so far."""

    def __init__(self, place: Path, *words: str) -> None:
        command = [sys.executable, "-m", "ci.cli", "schedule", "--demo", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, cwd=place, env=environment, stderr=subprocess.PIPE, text=True)

    def until(self, event: str) -> dict[str, Any]:
        """The next line of that event."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            told: dict[str, Any] = json.loads(line)
            if told["event"] == event:
                return told
        raise AssertionError(f"it ended without {event}")


@pytest.fixture
def scheduled(place: Path) -> Iterator[Any]:
    running: list[Scheduler] = []

    def start(*words: str) -> Scheduler:
        running.append(Scheduler(place, *words))
        return running[-1]

    yield start
    for one in running:
        with one.process as process:
            process.kill()


@pytest.mark.processes
def test_a_schedule_makes_proves_and_prunes(place: Path, scheduled: Any) -> None:
    status = place / "status"
    scheduler = scheduled("--every", "1s", "--verify-level", "4", "--prune", "--status-dir", str(status))
    first, look = scheduler.until("backup made"), scheduler.until("backup verified")
    assert (look["id"], look["level"], look["ok"]) == (first["id"], 4, True)
    assert scheduler.until("pruned")["marked"] == []
    assert scheduler.until("backup made")["why"].endswith("s old")
    told = backup_report.read(status)
    assert told is not None
    assert [(one.id, one.level, one.state) for one in told.backups] == [(first["id"], 4, "verified")]
    assert told.due is not None
    assert told.due >= told.backups[0].taken + 1.0
    assert told.spans == (backup_report.Span(told.backups[0].taken, told.backups[0].taken, 1),), "no log is shipped"
    assert (len(told.stores), told.away, told.alarms) == (1, (), ())
    scheduler.process.send_signal(signal.SIGTERM)
    scheduler.until("schedule ended")
    assert scheduler.process.wait(20) == 0
    assert alarms("--max-unverified", "1h") == []


@pytest.mark.processes
def test_killed_and_started_again_a_schedule_makes_no_second_backup(place: Path, scheduled: Any) -> None:
    first = scheduled("--every", "1h")
    first.until("backup verified")
    first.process.kill()
    first.process.wait()
    scheduled("--every", "1h").until("schedule begun")
    assert len(ask("list")["backups"]) == 1


@pytest.mark.processes
def test_a_schedule_outlives_a_store_that_is_away(place: Path, scheduled: Any) -> None:
    store = place / "mounted"
    scheduler = scheduled("--every", "1s", "--store", str(store))
    scheduler.until("backup made")
    scheduler.until("backup made")
    store.rename(place / "elsewhere")
    store.touch()
    assert str(store) in scheduler.until("backup failed")["error"]
    store.unlink()
    (place / "elsewhere").rename(store)
    assert scheduler.until("backup made")["kind"] == "incr"


@pytest.mark.processes
def test_a_schedule_brings_a_store_level_that_was_away(place: Path, scheduled: Any) -> None:
    """One that was never there so far: its first backup is made without it."""
    near, far = str(place / "near"), place / "far"
    far.touch()
    scheduler = scheduled("--every", "1s", "--store", near, "--store", str(far))
    assert "is a file" in scheduler.until("backup made")["trouble"][0]
    far.unlink()
    assert scheduler.until("stores level")["copied"] > 0
    here, there = ([one["id"] for one in ask("list", "--store", str(at))["backups"]] for at in (near, far))
    assert here[-1] in there


@pytest.mark.processes
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cron", "at noon"], "write five fields"),
        (["--every", "soon"], "is not a length of time"),
        (["--cron", "0 2 * * *", "--every", "1h"], "not both"),
        (["--database", "mysql://127.0.0.1/gym"], "cannot be backed up"),
    ],
)
def test_a_schedule_that_can_never_work_is_refused_at_once(
    place: Path, scheduled: Any, words: list[str], said: str
) -> None:
    scheduler = scheduled(*words)
    _, errors = scheduler.process.communicate(timeout=30)
    assert scheduler.process.returncode == 2
    assert said in errors
