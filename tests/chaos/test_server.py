"""Faults of a PostgreSQL server's processes and files: each bites a real one with proof, and says what is left to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backups.postgres.server import ServerTrouble
from chaos import server
from chaos.errors import NothingToBreak
from chaos.fault import FAULTS, Fault, kind, make
from chaos.lease import Leases
from chaos.target import MARKER, Target
from ci.cluster import NAME, Cluster
from ci.companions import Companions
from tests.chaos.stand import wait_until

pytestmark = pytest.mark.processes

TYPED: tuple[Fault, ...] = (
    server.KillPostmaster(),
    server.KillBackend(),
    server.PausePostmaster(),
    server.DeleteDataDirectory(),
    server.DeleteWalSegment(),
    server.CorruptRelation(),
)


class Place:
    """A marked directory with a running server, and a table with rows in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / MARKER).touch()
        (directory / "logs").mkdir()
        self.companions = Companions(directory / "companions", Leases(directory / "leases"), directory / "logs")
        self.cluster = Cluster(directory / "pg")
        self.cluster.build(self.companions)
        with self.connect() as connection:
            connection.execute(
                "CREATE TABLE toys AS SELECT n, repeat('toy', 40) AS name FROM generate_series(1, 2000) n"
            )
        self.target = Target.at(directory)

    def connect(self) -> psycopg.Connection[Any]:
        return self.cluster.server.connect()

    def count(self) -> int:
        with self.connect() as connection:
            row = connection.execute("SELECT count(name) FROM toys").fetchone()
        assert row is not None
        return int(row[0])

    def answers(self) -> bool:
        try:
            with self.cluster.server.connect(connect_timeout=1) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        self.companions.close()
        self.cluster.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    one = Place(tmp_path)
    try:
        yield one
    finally:
        one.close()


def test_every_fault_of_this_family_is_in_the_table() -> None:
    ours = {name for name, where in FAULTS.items() if where.startswith("chaos.server:")}
    assert ours == {one.name for one in TYPED}
    assert all(kind(one.name) is type(one) for one in TYPED)


@pytest.mark.parametrize("name", [one.name for one in TYPED])
def test_a_plan_touches_nothing(name: str, place: Place) -> None:
    with place.connect():
        given: dict[str, Any] = {"table": "toys"} if name == "corrupt-relation" else {}
        assert make(name, **given).plan(place.target)
    assert place.count() == 2000


def test_a_killed_postmaster_loses_nothing_that_was_committed(place: Place) -> None:
    with make("kill-postmaster").inject(place.target) as injection:
        assert injection.proof is not None
    assert not place.answers()
    place.cluster.start(place.companions)
    assert place.count() == 2000


def test_a_killed_backend_resets_every_session_and_the_server_comes_back_by_itself(place: Place) -> None:
    with place.connect() as bystander, place.connect():
        with make("kill-backend").inject(place.target) as injection:
            assert injection.proof is not None
        with pytest.raises(psycopg.OperationalError):
            wait_until(lambda: bystander.execute("SELECT pg_sleep(0.02)") is None)
    wait_until(place.answers)
    assert place.count() == 2000


def test_nobody_to_kill_is_told(place: Place) -> None:
    with pytest.raises(NothingToBreak, match="Nobody has a session"), make("kill-backend").inject(place.target):
        pass


def test_a_paused_server_answers_nobody_and_goes_on_where_it_was(place: Place) -> None:
    with make("pause-postmaster", seconds=20.0).inject(place.target) as injection:
        assert injection.proof is not None
        assert not place.answers()
    assert place.answers()
    assert place.count() == 2000


def test_a_pause_is_over_when_its_time_is(place: Place) -> None:
    with make("pause-postmaster", seconds=1.0).inject(place.target):
        wait_until(place.answers)


def test_a_deleted_data_directory_is_gone_with_its_server(place: Place) -> None:
    with make("delete-data-directory").inject(place.target) as injection:
        assert injection.proof is not None
        assert injection.proof.details["files"] > 100
    assert not place.cluster.server.data.exists()
    assert not place.answers()
    with pytest.raises(NothingToBreak), make("delete-data-directory").inject(place.target):
        pass


def test_without_its_segment_a_crashed_server_does_not_come_back(place: Place) -> None:
    with make("delete-wal-segment").inject(place.target) as injection:
        assert injection.proof is not None
    assert place.count() == 2000
    place.companions.kill(NAME)
    time.sleep(0.2)
    (place.cluster.server.data / "postmaster.pid").unlink(missing_ok=True)
    with pytest.raises(ServerTrouble, match="did not start"):
        place.cluster.server.start()


def test_a_damaged_page_is_refused_by_its_checksum(place: Place) -> None:
    with make("corrupt-relation", table="toys", count=2, seed=1).inject(place.target) as injection:
        assert injection.proof is not None
        assert "invalid page" in injection.proof.observed
    with pytest.raises(psycopg.errors.DataCorrupted):
        place.count()


@pytest.mark.parametrize("table", ["nowhere", "empty"])
def test_a_table_that_cannot_be_damaged_is_named(table: str, place: Place) -> None:
    with place.connect() as connection:
        connection.execute("CREATE TABLE empty (n int)")
    with pytest.raises(NothingToBreak, match=table), make("corrupt-relation", table=table).inject(place.target):
        pass


@pytest.mark.parametrize("name", [one.name for one in TYPED])
def test_a_target_without_a_server_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / MARKER).touch()
    with pytest.raises(NothingToBreak), make(name).inject(Target.at(tmp_path)):
        pass
