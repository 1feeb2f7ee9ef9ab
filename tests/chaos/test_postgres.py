"""Faults of a PostgreSQL server's sessions: each bites a real one with proof, heals, and touches nobody else's server."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from chaos import postgres
from chaos.errors import NothingToBreak, NotTarget
from chaos.fault import FAULTS, Fault, kind, make
from chaos.lease import Leases
from chaos.target import MARKER, Target
from ci.cluster import Cluster
from ci.companions import Companions
from tests.chaos.stand import Stand, wait_until

pytestmark = pytest.mark.processes

EVERY: dict[str, dict[str, Any]] = {
    "terminate-backends": {"per_second": 50.0},
    "cancel-statements": {"per_second": 50.0},
    "hold-table-lock": {"table": "toys"},
    "idle-in-transaction": {"table": "toys"},
    "exhaust-connections": {},
    "deadlock-pairs": {"table": "toys"},
}
TYPED: tuple[Fault, ...] = (
    postgres.TerminateBackends(),
    postgres.CancelStatements(),
    postgres.HoldTableLock(),
    postgres.IdleInTransaction(),
    postgres.ExhaustConnections(),
    postgres.DeadlockPairs(),
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A marked directory with a running server, and a table with rows in it."""
    directory = tmp_path_factory.mktemp("target")
    (directory / MARKER).touch()
    (directory / "logs").mkdir()
    companions = Companions(directory / "companions", Leases(directory / "leases"), directory / "logs")
    cluster = Cluster(directory / "pg")
    try:
        cluster.build(companions)
        with cluster.server.connect() as connection:
            connection.execute("CREATE TABLE toys (id int PRIMARY KEY, value int)")
            connection.execute("INSERT INTO toys SELECT n, 0 FROM generate_series(1, 20) n")
        yield Target.at(directory)
    finally:
        companions.close()
        cluster.close()


class Client:
    """Somebody who works with the database: a statement after another, each error kept."""

    def __init__(self, target: Target) -> None:
        self.reach = json.loads((target.server / "server.json").read_bytes()) if target.server else {}
        self.errors: list[psycopg.Error] = []
        self.done = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Client:
        self._thread.start()
        wait_until(lambda: self.done)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def connect(self) -> psycopg.Connection[Any]:
        reach = self.reach
        return psycopg.connect(
            host=reach["host"], port=reach["port"], user=reach["user"], dbname=reach["database"], autocommit=True,
            connect_timeout=3, options="-c lock_timeout=300ms", application_name="gymkhana-client",
        )  # fmt: skip

    def states(self) -> set[str]:
        return {str(error.sqlstate or "") for error in self.errors}

    def _work(self) -> None:
        while not self._ended.is_set():
            try:
                with self.connect() as connection:
                    # A row after another, and all of them: who locks some and skips the one that is in use meets it soon.
                    for row in itertools.takewhile(lambda _: not self._ended.is_set(), itertools.cycle(range(1, 21))):
                        connection.execute("UPDATE toys SET value = value + 1, id = id WHERE id = %s", (row,))
                        connection.execute("SELECT pg_sleep(0.01)")
                        self.done += 1
            except psycopg.Error as error:
                self.errors.append(error)
                time.sleep(0.01)


@pytest.fixture
def client(target: Target) -> Iterator[Client]:
    with Client(target) as client:
        yield client


SYMPTOMS = {
    "terminate-backends": {"57P01"},
    "cancel-statements": {"57014"},
    "hold-table-lock": {"55P03"},
    "idle-in-transaction": {"55P03"},
}


def test_every_fault_is_in_these_tests() -> None:
    assert set(EVERY) == {fault.name for fault in TYPED} == {name for name, at in FAULTS.items() if "postgres" in at}


@pytest.mark.parametrize("name", EVERY)
def test_a_fault_says_what_it_is_and_would_do(target: Target, name: str) -> None:
    assert kind(name).name == name
    assert kind(name).summary.endswith(".")
    assert all(line.endswith(".") for line in make(name, **EVERY[name]).plan(target))


@pytest.mark.parametrize("name", EVERY)
def test_a_fault_bites_with_proof_and_heals(target: Target, client: Client, name: str) -> None:
    with make(name, seconds=60, **EVERY[name]).inject(target) as injection:
        wait_until(lambda: injection.proof)
        if name in SYMPTOMS:
            wait_until(lambda: client.states() & SYMPTOMS[name])
        proof = injection.proof
    assert proof is not None
    assert proof.observed.endswith(".")
    assert proof.t_bite > 0
    json.dumps(proof.details)
    before = client.done
    wait_until(lambda: client.done > before + 3)
    with client.connect() as connection:
        ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gymkhana-chaos'"
        wait_until(lambda: connection.execute(ours).fetchone() == (0,))


@pytest.mark.parametrize("name", ["hold-table-lock", "idle-in-transaction", "exhaust-connections"])
def test_a_fault_ends_when_its_time_is_up(target: Target, client: Client, name: str) -> None:
    with make(name, seconds=0.5, **EVERY[name]).inject(target) as injection:
        assert injection.proof
        time.sleep(1.0)
        before = client.done
        wait_until(lambda: client.done > before + 3)
        client.connect().close()


def test_nobody_gets_a_connection_while_they_are_exhausted(target: Target) -> None:
    client = Client(target)
    with make("exhaust-connections", seconds=60).inject(target) as injection:
        assert injection.proof
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            client.connect()
    client.connect().close()


def test_without_anybody_to_hit_there_is_no_proof(target: Target) -> None:
    with make("terminate-backends", per_second=50.0, seconds=60).inject(target) as injection:
        time.sleep(0.3)
        assert injection.proof is None
        assert injection.why == "there was no session to hit"


@pytest.mark.parametrize("name", EVERY)
def test_a_target_that_is_not_served_from_postgresql_is_refused(name: str, tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    (tmp_path / MARKER).touch()
    with pytest.raises(NothingToBreak, match="not served from PostgreSQL"), make(name).inject(stand.target):
        pass


def test_a_server_that_is_somebody_elses_is_not_touched(target: Target, tmp_path: Path) -> None:
    (tmp_path / MARKER).touch()
    (tmp_path / "pg").mkdir()
    assert target.server
    (tmp_path / "pg" / "server.json").write_bytes((target.server / "server.json").read_bytes())
    with pytest.raises(NotTarget, match="outside"), make("terminate-backends").inject(Target.at(tmp_path)):
        pass


def test_a_server_that_is_down_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / MARKER).touch()
    (tmp_path / "pg").mkdir()
    with pytest.raises(NothingToBreak, match="cannot be reached") as caught:
        make("terminate-backends").plan(Target.at(tmp_path))
    assert "\n" not in str(caught.value)
