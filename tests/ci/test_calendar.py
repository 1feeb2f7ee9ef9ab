"""From cron to systemd's calendar: the same instants, asked of systemd itself where it is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from itertools import islice

import pytest
from cronsim import CronSim
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backups.errors import UsageError
from ci.units.calendar import on_calendar
from ci.units.job import longest_gap

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "calendar"),
    [
        ("0 2 * * *", ("*-*-* 02:00:00 UTC",)),
        ("*/20 * * * *", ("*-*-* *:00,20,40:00 UTC",)),
        ("5 0,12 * * MON-FRI", ("Mon,Tue,Wed,Thu,Fri *-*-* 00,12:05:00 UTC",)),
        ("0 0 1 JAN,JUL *", ("*-01,07-01 00:00:00 UTC",)),
        ("0 0 * * 7", ("Sun *-*-* 00:00:00 UTC",)),
        ("0 0 13 * FRI", ("*-*-13 00:00:00 UTC", "Fri *-*-* 00:00:00 UTC")),
        ("0 0 */2 * FRI", (f"Fri *-*-{','.join(f'{day:02d}' for day in range(1, 32, 2))} 00:00:00 UTC",)),
    ],
)
def test_these_are_said_like_this(cron: str, calendar: tuple[str, ...]) -> None:
    assert on_calendar(cron) == calendar


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 0 L * *", "L or #"),
        ("0 0 * * 5L", "L or #"),
        ("0 0 * * MON#1", "L or #"),
        ("0 0 0 * * *", "seconds"),
        ("every night", "write five fields"),
        ("61 * * * *", "write five fields"),
    ],
)
def test_what_not_every_scheduler_understands_is_refused(cron: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        on_calendar(cron)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("cron", "hours"), [("0 2 * * *", 24), ("0 2 * * MON", 168), ("0 */6 * * *", 6), ("0 0 1 * *", 744)]
)
def test_the_longest_gap_is_how_old_a_backup_gets(cron: str, hours: int) -> None:
    assert longest_gap(cron).total_seconds() == 3600 * hours


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    stepped = st.tuples(st.one_of(st.just("*"), span), st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    single = st.one_of(number.map(str), span, stepped)
    return st.one_of(st.just("*"), single, st.lists(single, min_size=1, max_size=3).map(",".join))


CRON = st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 7)).map(" ".join)


def by_systemd(calendars: tuple[str, ...], count: int) -> list[datetime]:
    command = [
        "systemd-analyze",
        "calendar",
        f"--iterations={count}",
        "--base-time=2025-12-31 23:59:59 UTC",
        *calendars,
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"(?:Next elapse|Iter\. #\d+|\(in UTC\)): \w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", told)
    return sorted({datetime.fromisoformat(one).replace(tzinfo=UTC) for one in found})


if shutil.which("systemd-analyze"):

    @given(CRON)
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def test_systemd_would_run_when_cron_would(cron: str) -> None:
        wanted = list(islice(CronSim(cron, datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)), 12))
        assert by_systemd(on_calendar(cron), 12)[:12] == wanted
