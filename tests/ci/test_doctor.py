"""What doctor says of a good machine, and of one that lacks each thing in turn."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ci import doctor
from ci.cli import gymkhana
from ci.doctor import Machine
from system.settings import Settings

GOOD = Machine(
    python=(3, 11, 7),
    sqlite=(3, 53, 4),
    sqlite_unused=(3, 53, 4),
    cores=8,
    free_bytes=40 << 30,
    place=Path("/srv"),
    open_files=65_536,
    port=8080,
    port_free=True,
    locust=True,
    k6=(1, 1, 0),
    jmeter=(5, 5),
    java=True,
    clock_drift_s=0.0001,
    chromium="/usr/bin/chromium",
    promtool="/usr/bin/promtool",
    pgbackrest=(2, 45),
    postgres=(18, 15),
)


def test_a_good_machine_has_nothing_to_say() -> None:
    findings = doctor.examine(GOOD)
    assert [(finding.state, finding.cost, finding.remedy) for finding in findings] == [("ok", "", "")] * 13
    assert doctor.ready(findings)


LACKING: list[tuple[str, str, dict[str, Any]]] = [
    ("python", "missing", {"python": (3, 10, 13)}),
    ("sqlite", "missing", {"sqlite": None}),
    ("sqlite", "missing", {"sqlite": (3, 51, 2)}),
    ("locust", "missing", {"locust": False}),
    ("open files", "missing", {"open_files": 4095}),
    ("disk", "missing", {"free_bytes": (1 << 30) - 1}),
    ("cores", "warn", {"cores": 2}),
    ("clock", "warn", {"clock_drift_s": -0.02}),
    ("port", "warn", {"port_free": False}),
    ("k6", "warn", {"k6": None}),
    ("k6", "warn", {"k6": (0, 49, 0)}),
    ("jmeter", "warn", {"jmeter": None}),
    ("jmeter", "warn", {"jmeter": (2, 13)}),
    ("jmeter", "warn", {"java": False}),
    ("chromium", "warn", {"chromium": None}),
    ("promtool", "warn", {"promtool": None}),
    ("pgbackrest", "warn", {"pgbackrest": None}),
    ("pgbackrest", "warn", {"postgres": (18, 16)}),
]


@pytest.mark.parametrize(("name", "state", "facts"), LACKING)
def test_each_lack_is_named_with_its_cost_and_its_remedy(name: str, state: str, facts: dict[str, Any]) -> None:
    findings = doctor.examine(replace(GOOD, **facts))
    (lack,) = [finding for finding in findings if finding.state != "ok"]
    assert (lack.name, lack.state) == (name, state)
    assert lack.cost
    assert lack.remedy
    assert doctor.ready(findings) == (state == "warn")


def test_every_check_is_shown_to_fail() -> None:
    assert {name for name, _, _ in LACKING} == {finding.name for finding in doctor.examine(GOOD)}


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 4), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 53, 4), True),
    ],
)
def test_the_range_of_the_wal_reset_bug(version: doctor.Version, safe: bool) -> None:
    assert doctor.safe_sqlite(version) is safe


def test_an_unsafe_library_that_nobody_uses_is_mentioned_and_harms_nobody() -> None:
    finding = doctor.sqlite(replace(GOOD, sqlite_unused=(3, 40, 1)))
    assert finding.state == "ok"
    assert "3.40.1" in finding.found
    assert "not used" in finding.found


class Clocks:
    """A wall clock that jumps by `jump_s` while somebody sleeps."""

    def __init__(self, jump_s: float) -> None:
        self.now_s, self.ahead_s, self.jump_s = 100.0, 1.7e9, jump_s

    def monotonic(self) -> float:
        self.now_s += 1e-6
        return self.now_s

    def wall(self) -> float:
        return self.monotonic() + self.ahead_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.ahead_s += self.jump_s


@pytest.mark.parametrize(("jump_s", "state"), [(0.0, "ok"), (0.05, "warn"), (-3600.0, "warn")])
def test_a_wall_clock_that_jumps_is_noticed(jump_s: float, state: str) -> None:
    clocks = Clocks(jump_s)
    drift_s = doctor.clock_drift(0.2, clocks.wall, clocks.monotonic, clocks.sleep)
    assert drift_s == pytest.approx(jump_s, abs=1e-4)
    assert doctor.clock(replace(GOOD, clock_drift_s=drift_s)).state == state


def test_looking_finds_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("GYM_PORT", str(taken.getsockname()[1]))
        machine = doctor.look(tmp_path / "not" / "there")
    assert machine.place == tmp_path
    assert machine.sqlite is not None
    assert doctor.safe_sqlite(machine.sqlite)
    assert machine.locust
    assert not machine.port_free


def test_missing_tools_are_none_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K6_BIN", "/nowhere/k6")
    monkeypatch.setenv("JMETER_HOME", "/nowhere")
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    machine = doctor.look()
    assert (machine.k6, machine.jmeter, machine.java, machine.chromium) == (None, None, False, None)


def test_a_version_is_read_out_of_words() -> None:
    assert doctor.parse_version("k6 v1.1.0 (commit/0e3fb953be, go1.24.6)") == (1, 1, 0)
    assert doctor.parse_version("no idea") is None


def test_the_port_asked_about_is_the_one_the_service_uses() -> None:
    assert Settings.model_fields["port"].default == doctor.PORT


def test_the_command_prints_rows_and_exits_with_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "look", lambda: replace(GOOD, k6=None))
    result = CliRunner().invoke(gymkhana, ["doctor"])
    assert result.exit_code == 0
    assert "warn     k6" in result.stdout
    assert "-> make setup-k6" in result.stdout
    assert result.stdout.endswith("Drills can run here.\n")


def test_the_command_says_no_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "look", lambda: replace(GOOD, locust=False))
    result = CliRunner().invoke(gymkhana, ["doctor", "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["ready"] is False
    assert [finding["name"] for finding in document["findings"] if finding["state"] == "missing"] == ["locust"]
