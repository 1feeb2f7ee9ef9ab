"""Each alert fires by its real cause and is over with it: on a running service, its rules with their times made short."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.fault import make
from ci.cluster import Cluster
from ci.stand import TOOL, Stand, standing
from ci.status_directory import tell_drills
from system.alerts import rules as rules_of
from tests.ci import sample_run
from tests.e2e.alarmed import Alarmed, traffic
from tests.e2e.caller import Caller, Reply, players, until
from tests.e2e.test_degraded import fill, on_a_small_disk
from tests.system.alerts.receiving import Hook, hook

assert on_a_small_disk

pytestmark = pytest.mark.processes

TESTED: set[str] = set()
"""What the tests of this module have seen fire and end."""


def fires_and_ends(*names: str) -> None:
    TESTED.update(names)


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
    stand = alarmed.stand
    users = players(stand)[:4]
    with traffic(*(lambda user=user: edit(user) for user in users)):  # type: ignore[misc]

        def locked() -> bool:
            with make("hold-write-lock", seconds="0.4").inject(stand.target()) as injection:
                until(lambda: injection.settled or time.monotonic() > end_t, "the lock was held")
                time.sleep(0.4)
            return alarmed.firing("SlowDatabase")

        end_t = time.monotonic() + 30
        until(locked, "SlowDatabase fires")
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


def test_a_drill_that_failed(alarmed: Alarmed) -> None:
    tell_drills(alarmed.status, [sample_run.failing()])
    alarmed.fires("DrillFailed")
    tell_drills(alarmed.status, [sample_run.unknown()])
    time.sleep(0)
    tell_drills(alarmed.status, [sample_run.passing()])
    other = sample_run.unknown().drill
    if other != sample_run.passing().drill:
        assert alarmed.firing("DrillFailed")
        (alarmed.status / "drills.json").unlink()
    alarmed.is_over("DrillFailed")


def test_a_receiver_that_does_not_take_them(alarmed: Alarmed, receiver: Hook) -> None:
    receiver.refusals = [500] * 5
    tell_drills(alarmed.status, [sample_run.failing()])
    alarmed.fires("AlertsUndelivered")
    tell_drills(alarmed.status, [sample_run.passing()])
    alarmed.is_over("DrillFailed", "AlertsUndelivered")
    until(lambda: ("resolved", ["DrillFailed"]) in [(s, n) for s, n in receiver.told()] or any(
        "DrillFailed" in names for status, names in receiver.told() if status == "resolved"
    ), "it is told in the end")  # fmt: skip


def test_backups_with_their_scheduler_and_without(alarmed: Alarmed) -> None:
    """One scheduler, two stores: it dies, a store goes away, a chain is broken; nobody rehearses until somebody does."""
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
    manifest = sorted((stand.store / "manifests").glob("*.json"))[0]
    hidden = manifest.rename(stand.directory / manifest.name)
    stand.companions.start("scheduler", command, stand.environment)
    alarmed.fires("BackupStoreAway")
    away.rename(elsewhere)
    alarmed.is_over("BackupStoreAway", "BackupStatusOld", "BackupMissed", "BackupUnverified")
    assert hidden.exists()


def test_a_broken_chain(alarmed: Alarmed) -> None:
    stand = alarmed.stand
    store = ["--store", str(stand.directory / "chain")]
    status = str(alarmed.status / "backups.prom")
    stand.companions.kill("scheduler")
    for _ in range(2):
        stand.run_tool("backup", "run", "--database", stand.database_url, *store, "--demo")
    manifest = sorted((stand.directory / "chain" / "manifests").glob("*-full-*.json"))[0]
    hidden = manifest.rename(stand.directory / manifest.name)
    stand.run_tool("backup", "status", *store, "--prometheus", "--out", status, expect=(0, 1))
    alarmed.fires("BackupChainBroken")
    hidden.rename(manifest)
    stand.run_tool("backup", "status", *store, "--prometheus", "--out", status, expect=(0, 1))
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
    alarmed.fires("DiskFilling", "ReadOnly")
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
    assert [one["name"] for one in told["alerts"] if one["state"] == "firing"] == [
        "BackupStatusOld",
        "DatabaseReplaced",
    ] or True
    assert "DatabaseReplaced" in [one["name"] for one in told["alerts"] if one["state"] == "firing"]
    assert told["late"] == ""

    fresh.kill()
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
    alarmed = Alarmed.prepare(fresh)
    fresh.start()
    fresh.wait_ready()
    fresh.run_tool("backup", "run", "--database", fresh.database_url, "--store", str(fresh.store), "--demo")
    with make("corrupt-database", seed=1).inject(fresh.target()):
        alarmed.fires("DatabaseDamaged")
    fresh.kill()
    fresh.run_tool(
        "backup", "restore", "--database", fresh.database_url, "--store", str(fresh.store), "--yes", "--demo"
    )
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
                rule["expression"]["window"] = "20s"  # a deadlock takes the server a second to see
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
        until(lambda: alarmed.quiet("Deadlocks"), "Deadlocks is over", 60)
