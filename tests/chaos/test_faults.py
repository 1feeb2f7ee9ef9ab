"""The contract of a fault, run over every one: it bites with proof, it heals, and it heals when its runner is killed."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaos import backup_store, connections, files, process, sqlite_process, write_lock
from chaos.fault import FAULTS, Fault, kind, make
from tests.chaos import test_network, test_postgres, test_server
from tests.chaos.stand import Stand, wait_until

pytestmark = pytest.mark.processes

EVERY: dict[str, dict[str, Any]] = {
    "kill-service": {},
    "kill-writer": {},
    "kill-companion": {},
    "pause-service": {"seconds": 60},
    "kill-connections": {"seconds": 60, "rate": 0.5},
    "fail-in-transaction": {"seconds": 60, "rate": 0.5},
    "hold-write-lock": {"seconds": 60},
    "corrupt-database": {},
    "corrupt-wal": {},
    "delete-database": {},
    "corrupt-newest-backup": {},
    "delete-store": {},
}
TYPED: tuple[Fault, ...] = (  # held to the protocol by the type checker
    process.KillService(),
    process.KillWriter(),
    process.KillCompanion(),
    process.PauseService(),
    connections.KillConnections(),
    connections.FailInTransaction(),
    write_lock.HoldWriteLock(),
    files.CorruptDatabase(),
    files.CorruptWal(),
    files.DeleteDatabase(),
    backup_store.CorruptNewestBackup(),
    backup_store.DeleteStore(),
)
SYMPTOM: dict[str, Callable[[Stand], bool]] = {
    "kill-service": lambda stand: not stand.processes(),
    "kill-writer": lambda _: True,  # nobody can tell: it heals by itself, at once
    "kill-companion": lambda stand: not stand.companions(),
    "pause-service": lambda stand: all(process.stopped for process in stand.processes().values()),
    "kill-connections": lambda stand: (stand.directory / "failpoints" / "kill-connections.json").exists(),
    "fail-in-transaction": lambda stand: (stand.directory / "failpoints" / "fail-in-transaction.json").exists(),
    "hold-write-lock": lambda stand: sqlite_process.locked(stand.database),
    "corrupt-database": lambda stand: not stand.sound(),
    "corrupt-wal": lambda stand: not stand.processes(),
    "delete-database": lambda stand: not stand.database.exists(),
    "corrupt-newest-backup": lambda stand: not stand.newest_is_whole(),
    "delete-store": lambda stand: not (stand.directory / "store").exists(),
}
PUTS_BACK = ("corrupt-database", "corrupt-wal", "delete-database")
ENDS_THE_SERVICE = ("kill-service", "corrupt-wal")


def test_every_fault_is_in_these_tests() -> None:
    """Those of a PostgreSQL server have tests of their own."""
    of_servers = {*test_postgres.EVERY, *(fault.name for fault in (*test_server.TYPED, *test_network.TYPED))}
    assert set(EVERY) == {fault.name for fault in TYPED} == set(FAULTS) - of_servers


@pytest.mark.parametrize("name", EVERY)
def test_a_fault_says_what_it_is(name: str) -> None:
    assert kind(name).name == name
    assert kind(name).summary.endswith(".")
    assert make(name).leaves == "" or make(name).leaves.endswith(".")


def test_plans_touch_nothing(serving: Stand) -> None:
    """A plan is one sentence for each thing that would be touched; the service goes on and no lease is written."""
    before = serving.processes()
    for name in EVERY:
        plan = make(name).plan(serving.target)
        assert plan
        assert all(line.endswith(".") for line in plan)
    assert serving.processes() == before
    assert serving.unbroken()
    assert not serving.leases.directory.exists()


@pytest.mark.parametrize("name", EVERY)
def test_a_fault_bites_with_proof_and_heals(serving: Stand, name: str) -> None:
    """The proof is there while the fault acts; after the block nothing of it is left and the service works (again)."""
    put_back = {"put_back": True} if name in PUTS_BACK else {}
    with make(name, seed=3, **EVERY[name], **put_back).inject(serving.target) as injection:
        wait_until(lambda: injection.proof)
        proof = injection.proof
    assert proof is not None
    assert proof.observed
    assert proof.t_bite > 0
    json.dumps(proof.details)
    wait_until(serving.unbroken)
    if name in ENDS_THE_SERVICE:
        assert not serving.processes()
        serving.serve()
    serving.wait_for_work()
    assert serving.sound()


@pytest.mark.parametrize("name", EVERY)
def test_killing_the_runner_leaves_nothing_broken(serving: Stand, name: str) -> None:
    """`kill -9` of the runner in the middle of a fault: within ten seconds its watchdog has undone everything.

    Nothing acknowledged is lost, but for what went into pages that were damaged in place.
    """
    runner = serving.run(name, **EVERY[name])
    assert SYMPTOM[name](serving), "while the runner lives, the fault acts"
    acknowledged = serving.acknowledged()
    runner.send_signal(signal.SIGKILL)
    wait_until(serving.unbroken, timeout_s=10.0)
    if name in ENDS_THE_SERVICE:
        assert not serving.processes()
        serving.serve()
    serving.wait_for_work()
    if name != "corrupt-database":
        assert set(acknowledged) <= serving.numbers()


@pytest.mark.parametrize("name", ["pause-service", "fail-in-transaction", "corrupt-database", "delete-database"])
def test_an_interrupted_block_heals(serving: Stand, name: str) -> None:
    """Ctrl-C inside the block undoes the fault, also one that would be left to a restore."""
    with pytest.raises(KeyboardInterrupt):
        with make(name, **EVERY[name]).inject(serving.target):
            raise KeyboardInterrupt
    assert not serving.leases.paths()
    wait_until(serving.unbroken)


@pytest.mark.parametrize("name", ["pause-service", "hold-write-lock", "delete-database"])
def test_a_fault_ends_when_its_time_is_up(serving: Stand, name: str) -> None:
    """Nobody leaves the block; the watchdog, or the fault itself, ends it all the same."""
    with make(name, seconds=0.5).inject(serving.target):
        wait_until(lambda: not SYMPTOM[name](serving))


def test_no_watchdog_outlives_the_last_lease(serving: Stand) -> None:
    with make("pause-service").inject(serving.target):
        watchdog = int((serving.leases.directory / "watchdog.lock").read_text())
        assert Path(f"/proc/{watchdog}").exists()
    wait_until(lambda: not Path(f"/proc/{watchdog}/cmdline").exists() or not _command(watchdog))


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
