"""The boards of alerts, backups and drills over HTTP: what they show, and that what is done there is done once, audited."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from system import backup_report
from system.admin.boards import alert_board, alert_routes
from system.alerts import board
from system.alerts.decisions import DecisionRefused
from system.backup_report import Backup, Report, Span
from tests.system.admin.visitors import Browser, account, machine, marks, rows, signed_in, stamp
from tests.system.alerts.test_watch import settings, watch
from tests.system.front import Front
from tests.system.test_drill_runs import leave


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where others leave what the boards show: no backup at all, which fires, and three runs."""
    place = tmp_path_factory.mktemp("places")
    (place / "status").mkdir()
    (place / "status" / "backups.prom").write_text(
        "# TYPE gymkhana_backup_timestamp_seconds gauge\ngymkhana_backup_timestamp_seconds 0\n"
    )
    for number in range(3):
        leave(place / "runs", number, verdict="fail" if number == 1 else "pass")
    return place


@pytest.fixture(scope="module")
def house(place: Path) -> Iterator[Front]:
    with Front(
        place,
        f"sqlite:///{place / 'gym.db'}",
        status_dir=place / "status",
        runs_dir=place / "runs",
        alert_interval_s=0.05,
        trusted_proxies="127.0.0.1",
    ) as front:
        stamp(front)
        account(front, "admin")
        front.until(lambda: state(front, "BackupMissed") == "firing")
        yield front


@pytest.fixture(scope="module")
def operator(house: Front) -> Browser:
    return signed_in(house, account(house, "operator"))


@pytest.fixture(scope="module")
def viewer(house: Front) -> Browser:
    return signed_in(house, account(house, "viewer"))


def state(front: Front, name: str) -> str:
    return next(str(one["state"]) for one in front.app.state.alerts.document()["alerts"] if one["name"] == name)


def audited(front: Front) -> list[tuple[str, str, str]]:
    """What the audit log says was done about alerts, newest first."""
    found = rows(front, "SELECT action, subject, detail FROM admin_audit WHERE action LIKE 'alert.%' ORDER BY id DESC")
    return [(action, subject, detail) for action, subject, detail in found]


def test_what_fires_is_shown_with_why_and_what_to_do(viewer: Browser) -> None:
    page = viewer.get("/admin/alerts").text
    assert state(viewer.front, "BackupMissed") in marks(page)
    assert '<a href="/admin/alerts/BackupMissed">BackupMissed</a>' in page
    assert '<a href="/admin/runbooks/missed-backup">' in page
    own = viewer.get("/admin/alerts/BackupMissed").text
    assert "gymkhana_backup_timestamp_seconds" in own
    assert '<a href="/admin/runbooks/missed-backup">' in own
    assert "<button>Acknowledge" not in own, "a viewer only looks"
    assert viewer.get("/admin/runbooks/missed-backup").text.count("<h1>") == 1


def test_a_board_that_nobody_looked_for_says_so(tmp_path: Path) -> None:
    idle = watch(settings(tmp_path))
    told = alert_board.told(idle, time.time())
    (figures, *_) = alert_board.panels(told)
    assert "No service has looked at its alerts" in figures.note
    place = tmp_path / "runtime" / "alerts"
    place.mkdir()
    (place / "decisions.json").write_text("{")
    assert "cannot be read" in alert_board.told(idle, time.time())["late"]


def test_an_alert_is_acknowledged_once_it_fires_and_audited(house: Front, operator: Browser) -> None:
    before = len(audited(house))
    assert operator.post("/admin/alerts/DrillFailed/acknowledge", why="x").status_code == 409
    assert operator.post("/admin/alerts/Nothing/acknowledge", why="x").status_code == 404
    assert operator.post("/admin/alerts/BackupMissed/acknowledge", why="x" * 201).status_code == 400
    assert len(audited(house)) == before, "refused, and nothing was done"
    done = operator.post("/admin/alerts/BackupMissed/acknowledge", why="the store is <b>replaced</b>")
    assert (done.status_code, done.headers["location"]) == (303, "/admin/alerts/BackupMissed?done=acknowledged")
    assert audited(house)[0] == ("alert.acknowledged", "alert BackupMissed", "the store is <b>replaced</b>")
    assert state(house, "BackupMissed") == "acknowledged"
    page = operator.get("/admin/alerts/BackupMissed?done=acknowledged").text
    assert "The alert is acknowledged" in page
    assert "the store is &lt;b&gt;replaced&lt;/b&gt;" in page


def test_a_silence_comes_and_goes(house: Front, operator: Browser) -> None:
    before = state(house, "BackupMissed")
    assert operator.post("/admin/alerts/silences", of="BackupMissed", lasting="1y").status_code == 400
    assert operator.post("/admin/alerts/silences", of="Nothing", lasting="1h").status_code == 400
    assert operator.post("/admin/alerts/silences", of="BackupMissed", lasting="1h", why="a move").status_code == 303
    assert audited(house)[0] == ("alert.silenced", "alerts BackupMissed", "for 1h. a move")
    assert state(house, "BackupMissed") == "silenced"
    (silence,) = operator_sees(operator)["silences"]
    assert operator.post(f"/admin/alerts/silences/{silence['id']}/end").status_code == 303
    assert audited(house)[0] == ("alert.unsilenced", f"silence {silence['id']}", "")
    assert operator.post(f"/admin/alerts/silences/{silence['id']}/end").status_code == 404
    assert state(house, "BackupMissed") == before


def operator_sees(operator: Browser) -> dict[str, list[dict[str, str]]]:
    operator.more = {"Accept": "application/json"}
    try:
        found: dict[str, list[dict[str, str]]] = operator.get("/admin/alerts/silences").json()
    finally:
        operator.more = {}
    return found


@pytest.mark.parametrize(
    ("of", "matchers"),
    [
        ("severity=critical", {"severity": "critical"}),
        ("everything", {"severity": "=~critical|warning"}),
        ("DiskFull", {"alertname": "DiskFull"}),
    ],
)
def test_what_is_silenced_is_what_was_chosen(of: str, matchers: dict[str, str]) -> None:
    assert alert_routes._matchers(of) == matchers


def test_a_machine_acknowledges_with_its_scope_and_reads_json(house: Front, place: Path) -> None:
    reader, _ = machine(house, ["read:boards"])
    assert [panel["id"] for panel in reader.get("/admin/alerts").json()["panels"]] == [
        "alerts", "loud", "silences", "quiet",
    ]  # fmt: skip
    assert reader.get("/admin/alerts/BackupMissed").json()["state"] == state(house, "BackupMissed")
    assert [panel["id"] for panel in reader.get("/admin/backups").json()["panels"]] == ["backups"]
    assert len(reader.get("/admin/drills").json()["panels"][1]["rows"]) == 3
    assert reader.post("/admin/alerts/BackupMissed/acknowledge").status_code == 403
    writer, _ = machine(house, ["write:alerts"])
    said = writer.post("/admin/alerts/BackupMissed/acknowledge", why="by a bot")
    assert (said.status_code, said.json()["by"]) == (200, "token bot")
    assert audited(house)[0][2] == "by a bot"
    assert reader.get("/admin/alerts/BackupMissed").json()["state"] == "acknowledged"
    told = json.loads((place / "alerts" / "decisions.json").read_bytes())
    assert told["acknowledged"]["BackupMissed"]["by"] == "token bot", "where the command finds it"


def test_what_cannot_be_written_down_is_refused_and_said(
    house: Front, operator: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise DecisionRefused("That could not be written: No space left on device. Nothing has changed.")

    monkeypatch.setattr(board, "acknowledge", full)
    response = operator.post("/admin/alerts/BackupMissed/acknowledge", why="a full disk")
    assert (response.status_code, "Nothing has changed" in response.text) == (409, True)


def test_the_backups_as_they_were_told_and_when_nobody_told(place: Path, viewer: Browser) -> None:
    assert "with --status-dir leaves it there" in viewer.get("/admin/backups").text
    now_s = time.time()
    path = place / "status" / backup_report.NAME
    backup = Backup(
        id="000001-full", kind="full", parent=None, taken=now_s - 7_200, level=3, state="verified", pinned=True
    )
    told = Report(
        at=now_s, stores=("/mnt/a", "s3://b"), away=("s3://b does not answer.",), alarms=("No rehearsed backup.",),
        backups=(backup,), spans=(Span(now_s - 7_200, now_s - 60, 1),), due=now_s + 3_600, why_due="daily",
    )  # fmt: skip
    path.write_bytes(msgspec.json.encode(told))
    page = marks(viewer.get("/admin/backups").text)
    for said in ("2 h old 000001-full", "Newest rehearsed none", "Next due in 60 min daily", "s3://b does not answer.",
                 "No rehearsed backup.", "pinned", "every instant, from 1 backup on"):  # fmt: skip
        assert said in page
    assert "nobody has said anything since" not in page
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(told, at=now_s - 7_200)))
    assert "This is how the backups were 2 h ago" in viewer.get("/admin/backups").text
    path.write_text("{")
    assert "cannot be read" in viewer.get("/admin/backups").text
    path.unlink()


def test_the_drills_with_their_trend_and_each_report(place: Path, viewer: Browser) -> None:
    page = viewer.get("/admin/drills").text
    assert page.count('<circle class="point') == 6
    assert page.count(">report</a>") == 3
    rows_shown = marks(page[page.index('id="panel-runs"') :])
    assert rows_shown.index("3.00 s") < rows_shown.index("2.00 s") < rows_shown.index("1.00 s"), "the newest first"
    run_id = sorted(path.name for path in (place / "runs").iterdir())[0]
    report = viewer.get(f"/admin/drills/{run_id}/report")
    assert report.text == "<title>Report</title>"
    (policy,) = report.headers.get_list("content-security-policy")
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert viewer.get("/admin/drills/..%2Fgym/report").status_code == 404
    assert "No run is there yet" in viewer.get("/admin/drills?drill=none").text
    assert Browser(viewer.front).get(f"/admin/drills/{run_id}/report").status_code == 303


def test_every_other_page_keeps_the_policy_of_all(viewer: Browser) -> None:
    for path in ("/admin/alerts", "/admin/alerts/silences", "/admin/backups", "/admin/drills", "/admin/runbooks"):
        (policy,) = viewer.get(path).headers.get_list("content-security-policy")
        assert "sandbox" not in policy
        assert "style-src 'self'" in policy
