"""`gymkhana alerts`: every verb, with its exit codes, and with real receivers."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from ci import cli, promtool
from system.alerts import board
from system.alerts.states import Course
from tests.system.alerts.receiving import hook, mailbox


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GYM_ALERT_WEBHOOKS", "GYM_ALERT_MAIL", "GYM_ALERT_RULES", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GYM_RUNTIME", str(tmp_path))
    monkeypatch.setenv("USER", "ada")
    return tmp_path


@pytest.fixture
def firing(runtime: Path) -> Path:
    """A service has looked just now, and Memory fires."""
    now = time.time()
    place = board.place(runtime)
    place.mkdir()
    course = Course("Memory", "firing", since=now - 60, fired=now - 30, value=2.0**30)
    kept = board.Record(now + 600, 5.0, {"Memory": course}, {"Memory": 2.0**30})
    (place / "alerts.json").write_bytes(msgspec.json.encode(kept))
    return runtime


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert cli.run(["alerts", *words]) == code
    return capsys.readouterr().out


def state(capsys: pytest.CaptureFixture[str], code: int) -> str:
    document = json.loads(told(capsys, "list", "--json", code=code))
    (found,) = [one["state"] for one in document["alerts"] if one["name"] == "Memory"]
    return str(found)


def test_what_fires_is_listed_with_what_to_do(firing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "list", code=1)
    assert "firing  warning   Memory" in said
    assert "1024 MiB" in said
    assert "docs/runbooks/slow-or-failing.md" in said
    assert "ErrorRate" not in said
    assert "ErrorRate" in told(capsys, "list", "--all", code=1)


def test_when_nobody_looks_that_is_unknown_and_not_quiet(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["alerts", "list"]) == 3
    assert "No service has looked" in capsys.readouterr().err
    assert json.loads(told(capsys, "list", "--json", code=3))["looked"] is None


def test_an_acknowledged_one_is_no_failure_any_more(firing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert state(capsys, 1) == "firing"
    assert told(capsys, "ack", "Memory", "--why", "I look") == "Memory is acknowledged by ada.\n"
    assert state(capsys, 0) == "acknowledged"
    assert "Acknowledged by ada" in told(capsys, "list")


def test_a_silence_is_made_listed_and_ended(firing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = json.loads(told(capsys, "silence", "severity=warning", "alertname=~Mem.*", "--for", "1h", "--json"))
    assert made["matchers"] == {"severity": "warning", "alertname": "=~Mem.*"}
    assert state(capsys, 0) == "silenced"
    assert f"Silence {made['id']} of severity=warning" in told(capsys, "list")
    told(capsys, "unsilence", made["id"])
    assert state(capsys, 1) == "firing"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ack", "NoSuch"], "There is no alert NoSuch"),
        (["ack", "ErrorRate"], "does not fire"),
        (["silence", "NoSuch"], "No alert has alertname NoSuch"),
        (["silence", "colour=red"], "Alerts have no label colour"),
        (["silence", "Memory", "--for", "soon"], "is no duration"),
        (["silence", "Memory", "alertname=x"], "each label once"),
        (["unsilence", "abcd"], "No silence abcd"),
        (["test"], "There is nobody to tell"),
        (["rules", "check", "none.json"], "cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    words: list[str], said: str, firing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["alerts", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning:aiosmtpd")
def test_every_receiver_is_tried_and_what_it_answered_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with hook() as web, mailbox() as box:
        monkeypatch.setenv("GYM_ALERT_WEBHOOKS", web.url)
        monkeypatch.setenv("GYM_ALERT_MAIL", box.url)
        document = json.loads(told(capsys, "test", "--json"))
        assert [(one["receiver"], one["taken"], one["said"]) for one in document["receivers"]] == [
            ("webhook-1", True, "200 OK"), ("mail", True, "taken for 1"),
        ]  # fmt: skip
        assert web.told() == [("firing", ["Trial"])]
        assert [mail["subject"] for mail in box.mails] == ["[FIRING:1] Trial (warning)"]
        web.refusals = [404]
        said = told(capsys, "test", code=1)
        assert "FAILED" in said
        assert "404 Not Found" in said
        assert "s3cret" not in said


def test_rules_are_exported_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rules.yml"
    told(capsys, "rules", "export", "--out", str(out), "--runbooks", "https://example.org/")
    assert 'runbook: "https://example.org/docs/runbooks/' in out.read_text()
    document = json.loads(told(capsys, "rules", "check", "--json"))
    assert document == {"rules": 21, "promtool": "" if promtool.available() else None}


def test_a_rules_file_that_is_wrong_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.json"
    path.write_text("[{}]")
    assert cli.run(["alerts", "rules", "check", str(path)]) == 2
    assert f"The rules in {path} are not right" in capsys.readouterr().err


@pytest.mark.skipif(not promtool.available(), reason="promtool is not here; Debian has it in the package prometheus")
def test_promtool_refuses_what_is_no_rules_file() -> None:
    assert "could not parse expression" in (
        promtool.refusal('groups: [{name: a, rules: [{alert: A, expr: "(("}]}]') or ""
    )
