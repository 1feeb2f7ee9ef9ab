"""The status is computed by the reader: it needs no scheduler, and is not fooled by a clock."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backups.backup import run_backup
from backups.errors import UsageError
from backups.keeping import catalogue as catalogues
from backups.keeping import status as statuses
from backups.keeping.catalogue import Entry
from backups.keeping.schedule import checked_cron, due_by_cron, due_every, duration
from backups.keeping.status import Limits, status
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from backups.verify import verify
from tests.backups import databases


@pytest.fixture
def entries(engine: SqliteEngine, database: Path, store: DirectoryStore) -> tuple[Entry, ...]:
    """Two good backups, the newer one verified."""
    run_backup(engine, str(database), store, demonstration=True)
    databases.write(database, 3)
    newer = run_backup(engine, str(database), store, demonstration=True)
    verify(store, newer.id, level=3)
    return catalogues.read(store).entries


def alarms(entries: tuple[Entry, ...], hours: float, limits: Limits, *trouble: str) -> list[str]:
    now = entries[-1].taken + timedelta(hours=hours) if entries else datetime(2026, 11, 23, tzinfo=UTC)
    return [alarm.name for alarm in status(entries, now, limits, trouble).alarms]


def test_good_backups_raise_no_alarm(entries: tuple[Entry, ...]) -> None:
    found = status(entries, entries[-1].taken + timedelta(hours=1), Limits(unverified=timedelta(hours=48)))
    assert (found.ok, found.backups, found.suspect) == (True, 2, 0)
    assert (found.age_s, found.verified_age_s, found.rehearsed_age_s) == (3600, 3600, None)


@pytest.mark.parametrize(
    ("hours", "limits", "raised"),
    [
        (25.9, Limits(), []),
        (26.1, Limits(), ["missed"]),
        (1, Limits(unverified=timedelta(minutes=30)), ["unverified"]),
        (1, Limits(unrehearsed=timedelta(days=8)), ["unrehearsed"]),
        (-36, Limits(), ["clock"]),
        (36, Limits(age=timedelta(hours=40)), []),
    ],
)
def test_each_limit_has_its_alarm(entries: tuple[Entry, ...], hours: float, limits: Limits, raised: list[str]) -> None:
    assert alarms(entries, hours, limits) == raised


def test_an_empty_store_is_a_missed_backup() -> None:
    assert alarms((), 0, Limits()) == ["missed"]


def test_a_store_that_is_away_is_an_alarm_whatever_the_others_hold(entries: tuple[Entry, ...]) -> None:
    assert alarms(entries, 1, Limits(), "s3://gym is away.") == ["store-away"]


def test_a_suspect_backup_is_an_alarm_and_counts_for_nothing(entries: tuple[Entry, ...]) -> None:
    bad = (entries[0], dataclasses.replace(entries[1], flaw="Its object is missing."))
    found = status(bad, bad[0].taken + timedelta(hours=27), Limits())
    assert [alarm.name for alarm in found.alarms] == ["missed", "suspect"]
    assert found.newest == entries[0].id


def test_a_database_that_halved_is_told(engine: SqliteEngine, tmp_path: Path, store: DirectoryStore) -> None:
    path = databases.make(tmp_path / "gym.db", rows=3000)
    run_backup(engine, str(path), store, demonstration=True)
    path.unlink()
    databases.make(path, rows=10)
    run_backup(engine, str(path), store, demonstration=True)
    assert alarms(catalogues.read(store).entries, 0, Limits()) == ["shrunk"]


def test_prometheus_reads_every_figure(entries: tuple[Entry, ...]) -> None:
    text = statuses.prometheus(status(entries, entries[-1].taken, Limits()))
    values = dict(line.split() for line in text.splitlines() if not line.startswith("#"))
    assert values["gymkhana_backups"] == "2"
    assert values["gymkhana_backup_rehearsed_age_seconds"] == "NaN"
    assert values["gymkhana_backup_alarms"] == "0"
    assert text.count("# TYPE") == len(values)
    assert float(values["gymkhana_backup_timestamp_seconds"]) == entries[-1].taken.timestamp()
    assert values["gymkhana_backup_rehearsed_timestamp_seconds"] == "0.0", "older than anything"
    assert values["gymkhana_backup_stores_away"] == "0"


def test_a_repository_without_records_says_nothing_of_verifications(entries: tuple[Entry, ...]) -> None:
    text = statuses.prometheus(status(entries, entries[-1].taken, Limits()), records=False)
    assert "gymkhana_backup_timestamp_seconds" in text
    assert "verified_timestamp" not in text
    assert "rehearsed_timestamp" not in text


def test_a_store_that_is_away_is_counted(entries: tuple[Entry, ...]) -> None:
    found = status(entries, entries[-1].taken, Limits(), ["s3://b is away.", "s3://c is away."])
    assert "\ngymkhana_backup_stores_away 2\n" in statuses.prometheus(found)


AT = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)


def taken(entries: tuple[Entry, ...], at: datetime) -> tuple[Entry, ...]:
    """The newest backup alone, as if it had been taken then."""
    manifest = entries[-1].manifest
    assert manifest is not None
    import msgspec

    return (dataclasses.replace(entries[-1], manifest=msgspec.structs.replace(manifest, taken=at.isoformat())),)


def test_a_backup_is_due_once_for_each_time_the_expression_comes_up(entries: tuple[Entry, ...]) -> None:
    assert due_by_cron((), "0 2 * * *", AT).now
    yesterday, tonight = taken(entries, AT - timedelta(days=1)), taken(entries, AT - timedelta(minutes=29))
    assert due_by_cron(yesterday, "0 2 * * *", AT).now
    found = due_by_cron(tonight, "0 2 * * *", AT)
    assert (found.now, found.next) == (False, datetime(2026, 11, 24, 2, 0, tzinfo=UTC))


def test_the_night_when_the_clocks_change_has_one_backup_too(entries: tuple[Entry, ...]) -> None:
    """All is in UTC, which has no such night."""
    for night in (datetime(2026, 3, 29, 2, 30, tzinfo=UTC), datetime(2026, 10, 25, 2, 30, tzinfo=UTC)):
        assert due_by_cron(taken(entries, night - timedelta(days=1)), "0 2 * * *", night).now
        assert not due_by_cron(taken(entries, night - timedelta(minutes=20)), "0 2 * * *", night).now


def test_an_interval_begins_with_the_newest_good_backup(entries: tuple[Entry, ...]) -> None:
    hour = timedelta(hours=1)
    assert due_every((), hour, AT).now
    assert due_every(taken(entries, AT - hour), hour, AT).now
    assert not due_every(taken(entries, AT - hour / 2), hour, AT).now
    assert due_every(taken(entries, AT + timedelta(hours=36)), hour, AT).now


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("26h", 93_600), ("8d", 691_200), ("0.5h", 1800)]
)
def test_lengths_of_time_are_read(text: str, seconds: float) -> None:
    assert duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "26", "h", "-1h", "0s", "1 hour"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="26h"):
        duration(text)


@pytest.mark.parametrize("text", ["", "0 2 * *", "60 2 * * *", "daily"])
def test_what_is_no_cron_expression_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"0 2 \* \* \*"):
        checked_cron(text)
