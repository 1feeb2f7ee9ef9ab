"""Each alert fires by its real cause and is over with it: on a running service, its rules with their times made short."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chaos.fault import make
from ci import promtool
from ci.cluster import Cluster
from ci.stand import TOOL, Stand, StandError, standing
from ci.status_directory import tell_drills
from system.alerts import board
from system.alerts import rules as rules_of
from tests.ci import sample_run
from tests.e2e.alarmed import Alarmed, traffic
from tests.e2e.caller import Caller, Reply, players, until
from tests.e2e.test_degraded import fill, on_a_small_disk
from tests.e2e.watcher import PROGRAM, watching
from tests.system.alerts.receiving import Hook, hook

assert on_a_small_disk

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def receiver() -> Iterator[Hook]:
    with hook() as there:
        yield there


@pytest.fixture(scope="module")
def alarmed(built: Stand, tmp_path_factory: pytest.TempPathFactory, receiver: Hook) -> Iterator[Alarmed]:
    """A serving stand that is given one cause after the other, and is whole between them."""
    directory = shutil.copytree(built.directory, tmp_path_factory.mktemp("alarmed") / "gym")
    stand = Stand(directory)
    stand.service = (*stand.service, "--child", "balloon=tests.e2e.balloon")
    alarmed = Alarmed.prepare(stand, receiver.url)
    with standing(stand):
        stand.start()
        stand.wait_ready()
        yield alarmed


def edit(user: Caller) -> Reply:
    return user.write("PATCH", "/users/me", {"bio": "still here"})


def challenge(stand: Stand) -> Reply:
    one, other = players(stand)[:2]
    return one.post("/challenges", {"opponent_id": other.id, "stake": 1, "title": "Once more"})


def test_failing_jobs(alarmed: Alarmed) -> None:
    """The domain's breaker opens too, and closes again once it is tried."""
    stand = alarmed.stand
    with traffic(lambda: challenge(stand)):
        with make("fail-in-transaction", seed=1, rate="1", seconds="60", domains="challenges").inject(stand.target()):
            alarmed.fires("ErrorRate", "DomainOff")
            assert alarmed.gauge("ErrorRate") == 2
        alarmed.is_over("ErrorRate", "DomainOff")
    assert alarmed.gauge("ErrorRate") == 0


def slow(stand: Stand, milliseconds: float) -> Path:
    """Every visit to the database takes so long, one at a time, until the file is removed."""
    path = stand.failpoints / "slow-service.json"
    armed = {"name": "slow-service", "seed": 1, "rate": 1.0, "until": time.monotonic() + 60, "ms": milliseconds}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(armed), "utf-8")
    partial.replace(path)
    return path


def test_slow_requests(alarmed: Alarmed) -> None:
    user = players(alarmed.stand)[0]
    with traffic(lambda: user.get("/users/me")):
        armed = slow(alarmed.stand, 700)
        alarmed.fires("SlowRequests")
        armed.unlink()
        alarmed.is_over("SlowRequests")


def test_more_than_it_can_do(alarmed: Alarmed) -> None:
    user = players(alarmed.stand)[0]
    armed = slow(alarmed.stand, 100)
    with traffic(lambda: user.get("/users/me"), each=40):
        alarmed.fires("Shedding")
    armed.unlink()
    with traffic(lambda: user.get("/users/me")):
        alarmed.is_over("Shedding")


def test_a_lock_on_the_database(alarmed: Alarmed) -> None:
    """The write that comes first waits for it in the database; those behind it wait for their turn, and are few here."""
    stand = alarmed.stand
    user = players(stand)[0]

    def hold() -> None:
        with make("hold-write-lock", seconds="1").inject(stand.target()):
            time.sleep(1)  # as long as it is held: that is the cause, and nothing is waited for

    with traffic(lambda: edit(user), each=2, pause_s=0.3):
        with traffic(hold, pause_s=0.3):  # SQLite looks for the lock ten times a second
            alarmed.fires("SlowDatabase")
        alarmed.is_over("SlowDatabase")


def test_memory(alarmed: Alarmed) -> None:
    order = alarmed.stand.runtime / "balloon"
    order.write_text("450")
    alarmed.fires("Memory")
    assert "MiB" in alarmed.alert("Memory")["told"]
    order.unlink()
    alarmed.is_over("Memory")


def test_notifications_that_wait(alarmed: Alarmed) -> None:
    place = alarmed.stand.runtime / "off"
    place.mkdir(exist_ok=True)
    (place / "notifications").write_text("The mail server is moved.")
    until(lambda: b"notifications-off" in alarmed.stand.get("/health/ready")[1], "the domain is off")
    assert challenge(alarmed.stand).status == 201
    alarmed.fires("OutboxOld", "DomainOff")
    (place / "notifications").unlink()
    alarmed.is_over("OutboxOld", "DomainOff")


def test_no_writer(alarmed: Alarmed) -> None:
    supervisor = alarmed.stand.pids()["supervisor"]
    os.kill(supervisor, signal.SIGSTOP)  # so that it cannot start another one
    try:
        os.kill(alarmed.stand.pids()["writer"], signal.SIGKILL)
        alarmed.fires("ReadOnly")
    finally:
        os.kill(supervisor, signal.SIGCONT)
    alarmed.is_over("ReadOnly")


def told_over(receiver: Hook, name: str, since: int) -> bool:
    """Whether the last that was told of the alert is its end."""
    statuses = [
        one["status"]
        for body in receiver.bodies[since:]
        for one in body["alerts"]
        if one["labels"]["alertname"] == name
    ]
    return bool(statuses) and statuses[-1] == "resolved"


def test_a_drill_that_failed(alarmed: Alarmed, receiver: Hook) -> None:
    before = len(receiver.bodies)
    tell_drills(alarmed.status, [sample_run.failing()])
    alarmed.fires("DrillFailed")
    tell_drills(alarmed.status, [sample_run.passing()])
    alarmed.is_over("DrillFailed")
    until(lambda: told_over(receiver, "DrillFailed", before), "its end is told")


def test_a_receiver_that_does_not_take_them(alarmed: Alarmed, receiver: Hook) -> None:
    before = len(receiver.bodies)
    receiver.refusals = [500] * 5
    tell_drills(alarmed.status, [sample_run.failing()])
    alarmed.fires("AlertsUndelivered")
    until(lambda: any("DrillFailed" in names for _, names in receiver.told()[before:]), "it is told in the end")
    tell_drills(alarmed.status, [sample_run.passing()])
    alarmed.is_over("DrillFailed", "AlertsUndelivered")
    until(lambda: told_over(receiver, "DrillFailed", before), "and so is its end")


def test_backups_with_their_scheduler_and_without(alarmed: Alarmed) -> None:
    """One scheduler, two stores: it dies, a store goes away; and nobody rehearses until somebody does."""
    stand = alarmed.stand
    elsewhere = stand.directory / "elsewhere"
    stores = ["--store", str(stand.store), "--store", str(elsewhere)]
    command = (*TOOL, "schedule", "--database", stand.database_url, *stores, "--every", "1s", "--demo")
    alarmed.fires("BackupStatusOld")
    stand.companions.start("scheduler", command, stand.environment)
    alarmed.is_over("BackupStatusOld", "BackupMissed", "BackupUnverified")

    alarmed.fires("BackupUnrehearsed")
    stand.run_tool("backup", "rehearse", *stores)
    alarmed.is_over("BackupUnrehearsed")

    stand.companions.kill("scheduler")
    alarmed.fires("BackupStatusOld", "BackupMissed", "BackupUnverified")
    away = elsewhere.rename(stand.directory / "away")
    elsewhere.write_text("the disk is not mounted")
    stand.companions.start("scheduler", command, stand.environment)
    alarmed.fires("BackupStoreAway")
    elsewhere.unlink()
    away.rename(elsewhere)
    alarmed.is_over("BackupStoreAway", "BackupStatusOld", "BackupMissed", "BackupUnverified")
    stand.companions.kill("scheduler")


def test_a_broken_chain(alarmed: Alarmed) -> None:
    stand = alarmed.stand
    store = ["--store", str(stand.directory / "chain")]
    told = ["--status-dir", str(alarmed.status)]
    for _ in range(2):
        stand.run_tool("backup", "run", "--database", stand.database_url, *store, "--demo")
    manifest = sorted((stand.directory / "chain" / "manifests").glob("*-full-*.json"))[0]
    hidden = manifest.rename(stand.directory / manifest.name)
    stand.run_tool("backup", "status", *store, *told, expect=(0, 1))
    alarmed.fires("BackupChainBroken")
    hidden.rename(manifest)
    stand.run_tool("backup", "status", *store, *told, expect=(0, 1))
    alarmed.is_over("BackupChainBroken")


def test_a_disk_that_fills(on_a_small_disk: Stand) -> None:
    """The service was started without short times; it is started anew with them."""
    stand = on_a_small_disk
    stand.stop()
    alarmed = Alarmed.prepare(stand)
    stand.start()
    stand.wait_ready()
    filler = stand.database.with_name("filler")
    fill(filler)
    with traffic(lambda: edit(players(stand)[0]), pause_s=0.1):
        alarmed.fires("DiskFilling", "ReadOnly")
        with pytest.raises(StandError, match="could not be written"):
            stand.run_tool("alerts", "ack", "DiskFilling", "--runtime", str(stand.runtime))
        filler.unlink()
        alarmed.is_over("DiskFilling", "ReadOnly")


def test_a_replaced_file_and_what_is_still_known_when_the_database_is_gone(fresh: Stand, receiver: Hook) -> None:
    alarmed = Alarmed.prepare(fresh, receiver.url)
    fresh.start()
    fresh.wait_ready()
    kept = fresh.database.rename(fresh.database.with_name("kept"))
    alarmed.fires("DatabaseReplaced")
    until(lambda: ("firing", ["DatabaseReplaced"]) in receiver.told(), "somebody is told")
    told = json.loads(fresh.run_tool("alerts", "list", "--runtime", str(fresh.runtime), "--json", expect=(1,)))
    assert "DatabaseReplaced" in [one["name"] for one in told["alerts"] if one["state"] == "firing"]
    assert told["late"] == ""

    fresh.kill()
    until(lambda: bool(board.late(fresh.runtime, time.time())), "it is noticed that nobody looks")
    said = fresh.run_tool("alerts", "list", "--runtime", str(fresh.runtime), expect=(3,))
    assert "DatabaseReplaced" in said, "what was known last is still shown"
    count = receiver.told().count(("firing", ["DatabaseReplaced"]))
    kept.rename(fresh.database)
    fresh.start()
    fresh.wait_ready()
    alarmed.is_over("DatabaseReplaced")
    until(lambda: ("resolved", ["DatabaseReplaced"]) in receiver.told(), "its end is told over a restart")
    assert receiver.told().count(("firing", ["DatabaseReplaced"])) == count, "and its beginning is not told again"


def test_a_damaged_page(fresh: Stand) -> None:
    """Whole pages, as a flipped bit may lie where the records, written every second, put the page right again."""
    alarmed = Alarmed.prepare(fresh)
    fresh.start()
    fresh.wait_ready()
    fresh.run_tool("backup", "run", "--database", fresh.database_url, "--store", str(fresh.store), "--demo")
    with make("corrupt-database", mode="zero-page", count=8, seed=1).inject(fresh.target()):
        alarmed.fires("DatabaseDamaged")
    fresh.kill()
    fresh.run_tool("backup", "restore", "--database", fresh.database_url, "--store", str(fresh.store), "--yes")
    fresh.start()
    fresh.wait_ready()
    alarmed.is_over("DatabaseDamaged")


def test_deadlocks_on_a_server(tmp_path: Path) -> None:
    directory = tmp_path / "stand"
    directory.mkdir()
    with standing(Stand(directory, cluster=Cluster(directory / "pg"))) as stand:
        stand.build(users=6, tournaments=1, matches=1, seed=3)
        rules = json.loads(rules_of.OWN.read_text())
        for rule in rules:
            if rule["name"] == "Deadlocks":
                rule["expression"]["window"] = "3s"  # the server tells what it counted once a second
            if "for" in rule:
                rule["for"] = "300ms"
        alarmed = Alarmed.prepare(stand, rules=json.dumps(rules))
        with stand.cluster.server.connect("postgres") as connection:  # type: ignore[union-attr]
            connection.execute("ALTER SYSTEM SET deadlock_timeout = '50ms'")
            connection.execute("SELECT pg_reload_conf()")
        stand.start()
        stand.wait_ready()
        with make("deadlock-pairs", seed=1, seconds="20").inject(stand.target()):
            alarmed.fires("Deadlocks")
        alarmed.is_over("Deadlocks")


DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "gymkhana.json"
_NAME = re.compile(r"\bgymkhana_[a-z_]+\b")
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def expressions(dashboard: Path) -> list[str]:
    """What the dashboard asks, its variables filled in."""
    told = json.loads(dashboard.read_text("utf-8"))
    asked = [target["expr"] for panel in told["panels"] for target in panel.get("targets", ())]
    asked += [one["expr"] for one in told["annotations"]["list"]]
    return [one.replace("$__rate_interval", "1m") for one in asked]


def unknown(asked: Iterable[str], page: str) -> set[str]:
    """Names of metrics that the page does not tell."""
    told = {f"{family.name}{end}" for family in text_string_to_metric_families(page) for end in _SUFFIXES[family.type]}
    return {name for one in asked for name in _NAME.findall(one)} - told


def test_all_that_dashboard_and_rules_ask_for_is_told(alarmed: Alarmed) -> None:
    stand = alarmed.stand
    stand.run_tool("backup", "run", "--database", stand.database_url, "--store", str(stand.store), "--demo")
    stand.run_tool("backup", "status", "--store", str(stand.store), "--status-dir", str(alarmed.status), expect=(0, 1))
    tell_drills(alarmed.status, [sample_run.passing()])
    page = stand.get("/metrics")[1].decode()
    asked = expressions(DASHBOARD)
    assert len(asked) > 30
    assert unknown([*asked, *(rule.promql() for rule in rules_of.read())], page) == set()
    assert unknown(["sum(gymkhana_vanished_total)"], page) == {"gymkhana_vanished_total"}


@pytest.mark.skipif(not promtool.available(), reason="promtool is not here; Debian has it in the package prometheus")
def test_the_dashboard_asks_what_prometheus_understands() -> None:
    def rules(asked: Iterable[str]) -> str:
        told = [{"record": f"dashboard:expression:{number}", "expr": one} for number, one in enumerate(asked)]
        return json.dumps({"groups": [{"name": "dashboard", "rules": told}]})

    assert promtool.refusal(rules(expressions(DASHBOARD))) == ""
    assert "parse" in (promtool.refusal(rules([*expressions(DASHBOARD), "sum(rate(x))["])) or "")


@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="prometheus is not here; Debian has a package of that name")
def test_prometheus_sees_the_same_and_that_the_service_is_gone(alarmed: Alarmed, tmp_path: Path) -> None:
    stand = alarmed.stand
    off = stand.runtime / "off" / "challenges"
    off.parent.mkdir(exist_ok=True)
    with watching(stand, alarmed.rules, tmp_path) as watcher:
        off.write_text("The stakes are being looked at.")
        alarmed.fires("DomainOff")
        until(lambda: "DomainOff" in watcher.firing(), "Prometheus sees it too")
        assert "ServiceAbsent" not in watcher.firing()
        off.unlink()
        alarmed.is_over("DomainOff")
        until(lambda: "DomainOff" not in watcher.firing(), "Prometheus sees its end")
        stand.stop()
        until(lambda: "ServiceAbsent" in watcher.firing(), "somebody else sees that the service is gone")
        stand.start()
        stand.wait_ready()
        until(lambda: "ServiceAbsent" not in watcher.firing(), "and that it is back")
