"""Faults between a client and a real server: each bites with proof, is over when it is, and a cut COMMIT is committed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backups.postgres.server import Server
from chaos import network
from chaos.errors import NothingToBreak
from chaos.fault import FAULTS, Fault, kind, make
from chaos.target import MARKER, Target
from ci.loopback import HOST, free_ports
from tests.chaos.stand import wait_until

pytestmark = pytest.mark.processes

TYPED: tuple[Fault, ...] = (network.Latency(), network.Partition(), network.CutAfterCommit())


@dataclass
class Way:
    """A marked directory with a proxy that leads to a server."""

    target: Target
    port: int
    server: Server

    def connect(self) -> psycopg.Connection[Any]:
        password = (self.server.directory / "password").read_text("ascii").strip()
        return psycopg.connect(
            host=HOST, port=self.port, user="gym", password=password, dbname="gym", connect_timeout=2, autocommit=True
        )

    def rows(self) -> int:
        """Asked past the proxy."""
        with self.server.connect() as connection:
            row = connection.execute("SELECT count(*) FROM toys").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def way(tmp_path: Path, postgres: Server) -> Iterator[Way]:
    (tmp_path / MARKER).touch()
    (port,) = free_ports(1)
    command = [
        sys.executable, "-m", "chaos.proxy", "--directory", str(tmp_path / "proxy"), "--port", str(port),
        "--to-port", str(postgres.port),
    ]  # fmt: skip
    with postgres.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS toys")
        connection.execute("CREATE TABLE toys (n int PRIMARY KEY)")
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
        one = Way(Target.at(tmp_path), port, postgres)
        try:
            wait_until(lambda: _open(one))
            yield one
        finally:
            process.terminate()


def _open(way: Way) -> bool:
    try:
        way.connect().close()
    except psycopg.Error:
        return False
    return True


def test_every_fault_of_this_family_is_in_the_table() -> None:
    ours = {name for name, where in FAULTS.items() if where.startswith("chaos.network:")}
    assert ours == {one.name for one in TYPED}
    assert all(kind(one.name) is type(one) for one in TYPED)


def test_without_a_fault_everything_passes(way: Way) -> None:
    with way.connect() as connection:
        connection.execute("INSERT INTO toys SELECT generate_series(1, 5000)")
        assert len(connection.execute("SELECT n, repeat('x', 200) FROM toys").fetchall()) == 5000


def test_latency_is_added_each_way_and_over_when_it_is(way: Way) -> None:
    """Compared within one run: ten round trips with the fault against ten without."""

    def ten() -> float:
        began = time.monotonic()
        for _ in range(10):
            connection.execute("SELECT 1")
        return time.monotonic() - began

    with way.connect() as connection:
        before = ten()
        with make("latency", ms=20.0).inject(way.target) as injection:
            wait_until(lambda: injection.proof is not None)
            slow = ten()
        time.sleep(0.1)
        assert slow > before + 10 * 0.040
        assert ten() < slow / 2


def test_a_partition_lets_nothing_pass_and_says_nothing(way: Way) -> None:
    with way.connect() as connection:
        with make("partition", seconds=10.0).inject(way.target) as injection:
            wait_until(lambda: injection.proof is not None)
            assert not _open(way)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_cut_commit_is_committed_and_nobody_is_told(way: Way) -> None:
    with make("cut-after-commit", rate=1.0).inject(way.target) as injection:
        time.sleep(0.1)
        connection = way.connect()
        with pytest.raises(psycopg.OperationalError), connection.transaction():
            connection.execute("INSERT INTO toys VALUES (1)")
        proof = injection.proof
    assert proof is not None
    assert proof.details["hits"] == 1
    assert way.rows() == 1


def test_a_rate_cuts_some_and_lets_the_others_be_told(way: Way) -> None:
    told = cut = 0
    with make("cut-after-commit", rate=0.5, seed=3).inject(way.target) as injection:
        time.sleep(0.1)
        for n in range(20):
            connection = way.connect()
            try:
                with connection.transaction():
                    connection.execute("INSERT INTO toys VALUES (%s)", (n,))
                told += 1
            except psycopg.OperationalError:
                cut += 1
            connection.close()
        proof = injection.proof
    assert told
    assert cut
    assert way.rows() == 20
    assert proof is not None
    assert proof.details["hits"] == cut


def test_what_never_happened_has_no_proof(way: Way) -> None:
    with make("cut-after-commit").inject(way.target) as injection:
        assert injection.proof is None
        assert "nothing passed" in injection.why


def test_one_at_a_time_and_not_without_a_proxy(way: Way, tmp_path_factory: pytest.TempPathFactory) -> None:
    with make("latency").inject(way.target), pytest.raises(NothingToBreak, match="played already"):
        make("partition").plan(way.target)
    bare = tmp_path_factory.mktemp("bare")
    (bare / MARKER).touch()
    for one in TYPED:
        with pytest.raises(NothingToBreak, match="No proxy stands"):
            one.plan(Target.at(bare))
