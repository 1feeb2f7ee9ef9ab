"""The boards of alerts, backups and drills in a real Chromium: an alert acknowledged by keyboard, a report opened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser

from ci import report
from system import backup_report
from system.backup_report import Backup, Gap, Report, Span
from tests.backups.databases import wait_until
from tests.ci import sample_run
from tests.system.admin.browsing import IN_A_BROWSER, SCHEMES, Scheme, Served, Visit, answers, barriers, faint
from tests.system.test_drill_runs import leave

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where others left that there is no backup, how the backups are, and two drills."""
    place = tmp_path_factory.mktemp("boarded")
    status, runs = place / "status", place / "runs"
    status.mkdir()
    (status / "backups.prom").write_text(
        "# TYPE gymkhana_backup_timestamp_seconds gauge\ngymkhana_backup_timestamp_seconds 0\n"
    )
    (status / backup_report.NAME).write_bytes(msgspec.json.encode(told()))
    leave(runs, 1)
    run_id = leave(runs, 2, verdict="fail")
    report.write(msgspec.structs.replace(sample_run.failing(), id=run_id), runs / run_id / "report.html")
    return place


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Served]:
    environment = {
        "GYM_STATUS_DIR": str(place / "status"), "GYM_RUNS_DIR": str(place / "runs"), "GYM_ALERT_INTERVAL_S": "0.1",
    }  # fmt: skip
    served = Served(place, environment)
    served.start()
    yield served
    served.stop()


def told() -> Report:
    now_s = time.time()
    backups = tuple(
        Backup(id=f"00000{number}", kind="full", parent=None, taken=now_s - 9_000 + 3_000 * number, level=level,
               state="complete", fault="cut short" if number == 1 else "")
        for number, level in enumerate((5, 3, -1))
    )  # fmt: skip
    return Report(
        at=now_s, stores=("/mnt/backups",), away=(), alarms=("There is no backup.",), backups=backups,
        spans=(Span(now_s - 9_000, now_s - 3_000, 1),), gaps=(Gap(now_s - 3_000, None, "a segment is missing"),),
    )  # fmt: skip


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Visit]:
    """Somebody who has logged in, and whose browser had nothing to complain about."""
    visit = Visit(browser, served.url, "light")
    visit.log_in()
    yield visit
    assert visit.complaints == []
    assert visit.elsewhere() == []
    visit.context.close()


def test_an_alert_is_acknowledged_by_keyboard(visit: Visit, served: Served) -> None:
    page = visit.page
    page.get_by_role("link", name="Alerts").first.press("Enter")
    page.wait_for_url(f"{served.url}/admin/alerts")
    page.get_by_role("link", name="BackupMissed").press("Enter")
    page.wait_for_url(f"{served.url}/admin/alerts/BackupMissed")
    page.get_by_label("Who does what").focus()
    page.keyboard.type("ada looks at the store")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Acknowledge"
    page.keyboard.press("Enter")
    page.get_by_role("status").wait_for()
    assert "acknowledged" in page.locator("h1").inner_text()
    assert "ada looks at the store" in page.locator(".alert").inner_text()
    page.get_by_role("link", name="missed backup").press("Enter")
    page.wait_for_url(f"{served.url}/admin/runbooks/missed-backup")
    assert page.locator("h1").inner_text() == "A backup is missed, or not what it should be"


def test_a_drills_report_is_opened_from_the_board(visit: Visit, served: Served, place: Path) -> None:
    page = visit.page
    page.goto(f"{served.url}/admin/drills")
    assert page.locator("circle.point").count() == 4
    page.locator("tbody a").first.press("Enter")
    newest = max(path.name for path in (place / "runs").iterdir())
    page.wait_for_url(f"{served.url}/admin/drills/{newest}/report")
    assert page.locator(".hero .word").inner_text() == "Fail"
    page.locator("#flows table").get_by_role("button", name="Requests").click()  # its own script runs,
    assert page.locator("#flows table [aria-sort]").count() >= 1
    assert page.evaluate("window.origin") == "null"  # and not as anybody who is logged in


def test_the_backups_are_drawn_and_listed(visit: Visit, served: Served) -> None:
    page = visit.page
    page.goto(f"{served.url}/admin/backups")
    assert page.locator("rect.dot").count() == 3
    assert page.locator("rect.span").count() == page.locator("rect.gap").count() == 1
    assert "a segment is missing" in page.locator("main").inner_text()


PAGES = (
    "alerts", "alerts/BackupMissed", "alerts/silences", "backups", "drills", "runbooks", "runbooks/lost-database",
)  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_page_can_be_read_by_everybody_at_any_width(browser: Browser, served: Served, scheme: Scheme) -> None:
    visit = Visit(browser, served.url, scheme)
    visit.log_in()
    for path in PAGES:
        visit.page.set_viewport_size({"width": 1280, "height": 900})
        visit.page.goto(f"{served.url}/admin/{path}")
        assert visit.page.locator("h1").count() == 1
        assert faint(visit.page) == [], path
        assert barriers(visit.page) == [], path
        for width in (800, 400):
            visit.page.set_viewport_size({"width": width, "height": 900})
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
    assert visit.complaints == []
    visit.context.close()


def test_all_of_it_is_shown_while_the_database_is_gone(visit: Visit, served: Served) -> None:
    """The last of these tests: it takes the database away."""
    page = visit.page
    page.goto(f"{served.url}/admin/alerts")
    served.path.rename(served.path.with_suffix(".gone"))
    wait_until(lambda: not answers(f"{served.url}/health/ready"), "the database was missed")
    for path, said in (
        ("alerts", "BackupMissed"), ("alerts/BackupMissed", "Fires when"), ("backups", "a segment is missing"),
        ("drills", "crash"), ("runbooks/lost-database", "The database is gone"),
    ):  # fmt: skip
        answer = page.goto(f"{served.url}/admin/{path}")
        assert answer is not None
        assert (answer.status, said in page.locator("main").inner_text()) == (200, True), path
    page.goto(f"{served.url}/admin/alerts/BackupMissed")
    page.get_by_role("button", name="Acknowledge").press("Enter")
    page.get_by_role("heading", name="That did not work").wait_for()
    visit.complaints[:] = [one for one in visit.complaints if "503" not in one]
