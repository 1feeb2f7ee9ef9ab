"""The write lane on PostgreSQL: what the server rolls back or drops is run again, exactly once, or told for certain."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

import system.models
from backups.postgres.server import Server
from chaos.fault import make
from chaos.target import MARKER, Target
from ci.loopback import free_ports
from system import operations_service as operations
from system.database import Base, Limits, engine_for
from system.errors import Conflict
from system.failpoints import Failpoints
from system.jobs import JOBS, Operation, Reply, write_job
from system.libpq import CommitFailed, Fetched, Pipe, Told
from system.sessions import Sessions
from system.statements import Session
from system.wire import Answer, Ask
from tests.backups.databases import ROOT
from tests.chaos.stand import wait_until

assert system.models

pytestmark = pytest.mark.processes

_NAMES = itertools.count(1)
LIMITS = Limits(connections=4, statement_ms=2_000, lock_ms=500, idle_in_transaction_ms=2_000)


@pytest.fixture(autouse=True)
def jobs() -> Iterator[None]:
    before = dict(JOBS)
    yield
    JOBS.clear()
    JOBS.update(before)


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    name = f"sessions_{next(_NAMES)}"
    postgres.create_database(name)
    engine = engine_for(postgres.url(name), writer=True)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE counters (id int PRIMARY KEY, value int NOT NULL)"))
        connection.execute(text("INSERT INTO counters VALUES (1, 0), (2, 0)"))
    engine.dispose()
    yield name
    with postgres.connect("postgres") as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


class Lane:
    """Four sessions on a database, and a way past them."""

    def __init__(self, server: Server, name: str, limits: Limits = LIMITS) -> None:
        self.server, self.name = server, name
        self.engine = engine_for(server.url(name), writer=True, limits=limits)
        self.sessions = Sessions(self.engine, Failpoints(None), limits.connections)
        self._numbers = itertools.count(1)

    def ask(self, job: Any, *args: Any, op: str | None = None, seconds: float = 10.0) -> Ask:
        operation = Operation(op or f"r.{next(self._numbers)}", "r", None, "", 0)
        return Ask(0, job.name, args, operation, time.monotonic() + seconds)

    def answer(self, job: Any, *args: Any, op: str | None = None, seconds: float = 10.0) -> Answer:
        return self.sessions.answer(self.ask(job, *args, op=op, seconds=seconds))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.server.connect(self.name) as connection:
            return connection.execute(statement).fetchall()

    def terminate(self) -> int:
        """Ends a backend that writes for us; how many that were."""
        ours = "SELECT pid FROM pg_stat_activity WHERE application_name = 'gymkhana-writer' AND datname = current_database()"
        return len(self.rows(f"SELECT pg_terminate_backend(pid) FROM ({ours} ORDER BY random() LIMIT 1) one"))


@pytest.fixture
def lane(postgres: Server, database: str) -> Iterator[Lane]:
    lane = Lane(postgres, database)
    yield lane
    lane.sessions.close()


@write_job("toys")
def count(session: Session, operation: Operation, *counters: int) -> Reply:
    for counter in counters:
        session.execute(text("UPDATE counters SET value = value + 1 WHERE id = :id"), {"id": counter})
        time.sleep(0.02)
    operations.record(session, operation, "counted")
    return Reply(201, {"counted": len(counters)})


@pytest.fixture
def counting() -> Any:
    return write_job("toys")(count.function)


def test_an_answer_comes_after_the_commit(lane: Lane, counting: Any) -> None:
    answer = lane.answer(counting, 1)
    assert (answer.kind, answer.status, answer.replayed) == ("", 201, False)
    assert lane.rows("SELECT value FROM counters WHERE id = 1") == [(1,)]
    assert lane.rows("SELECT id, sequence, status FROM operations") == [("r.1", answer.sequence, 201)]


def test_a_repeated_operation_is_answered_as_it_was_and_applied_once(lane: Lane, counting: Any) -> None:
    first, again = (lane.answer(counting, 1, op="r.same") for _ in range(2))
    assert (again.replayed, again.sequence, again.body) == (True, first.sequence, first.body)
    assert lane.rows("SELECT value FROM counters WHERE id = 1") == [(1,)]


def test_the_same_operation_many_times_at_once_is_applied_once(lane: Lane, counting: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: lane.answer(counting, 1, op="r.same"), range(16)))
    assert {answer.kind for answer in answers} == {""}
    assert sum(not answer.replayed for answer in answers) == 1
    assert len({answer.sequence for answer in answers}) == 1
    assert lane.rows("SELECT value FROM counters WHERE id = 1") == [(1,)]


def test_deadlocks_are_run_again_and_no_request_fails(lane: Lane, counting: Any) -> None:
    """Pairs that take the same two rows in opposite orders."""
    with ThreadPoolExecutor(4) as pool:
        orders = [(1, 2) if number % 2 else (2, 1) for number in range(16)]
        answers = list(pool.map(lambda order: lane.answer(counting, *order), orders))
    assert [answer.kind for answer in answers] == [""] * 16
    assert lane.rows("SELECT value FROM counters") == [(16,), (16,)]
    deadlocks = lane.rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0]
    assert deadlocks > 0 or lane.rows("SELECT 1 FROM operations") == [(1,)] * 16


def test_a_refusal_leaves_nothing(lane: Lane) -> None:
    def refuse(session: Session, operation: Operation) -> Reply:
        session.execute(text("UPDATE counters SET value = 99"))
        raise Conflict("no", "Not this one.")

    answer = lane.answer(write_job("toys")(refuse))
    assert (answer.kind, answer.code) == ("conflict", "no")
    assert lane.rows("SELECT DISTINCT value FROM counters") == [(0,)]


def test_a_connection_lost_in_a_job_is_replaced_and_the_job_run_again(lane: Lane, counting: Any) -> None:
    tries = []

    def unlucky(session: Session, operation: Operation) -> Reply:
        tries.append(1)
        session.execute(text("UPDATE counters SET value = value + 1 WHERE id = 1"))
        if len(tries) < 3:
            pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
            lane.rows(f"SELECT pg_terminate_backend({pid})")
        return Reply(201, {})

    job = write_job("toys")(unlucky)
    answer = lane.answer(job)
    assert (answer.kind, len(tries)) == ("", 3)
    assert lane.rows("SELECT value FROM counters WHERE id = 1") == [(1,)]


@pytest.mark.parametrize("reached", [True, False])
def test_a_commit_whose_answer_is_lost_is_resolved_by_its_operation(
    lane: Lane, counting: Any, reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks behind COMMIT, or before it: the operation is there once either way, and so is its effect."""
    broken: list[int] = []
    commit = Pipe.commit

    def break_off(pipe: Pipe, last: Told | None = None) -> Fetched:
        if broken:
            return commit(pipe, last)
        broken.append(1)
        if reached:
            commit(pipe, last)
        pipe.connection.close()
        raise CommitFailed(psycopg.OperationalError("the connection broke off"))

    monkeypatch.setattr(Pipe, "commit", break_off)
    answer = lane.answer(counting, 1)
    assert (answer.kind, answer.replayed, len(broken)) == ("", reached, 1)
    assert lane.rows("SELECT value FROM counters WHERE id = 1") == [(1,)]
    assert lane.rows("SELECT count(*) FROM operations") == [(1,)]


def test_a_storm_of_terminated_backends_loses_and_doubles_nothing(lane: Lane, counting: Any) -> None:
    ended = threading.Event()
    terminated = []

    def storm() -> None:
        while not ended.wait(0.1):
            terminated.append(lane.terminate())

    thread = threading.Thread(target=storm)
    thread.start()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: lane.answer(counting, 1, 2, seconds=20), range(60)))
    ended.set()
    thread.join()
    assert sum(terminated) > 5
    assert {(answer.kind, answer.code, answer.message) for answer in answers} == {("", "", "")}
    assert lane.rows("SELECT value FROM counters") == [(60,), (60,)]
    leaked = (
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = current_database()"
    )
    assert lane.rows(leaked) == [(0,)]


def test_cancelled_statements_are_run_again(lane: Lane) -> None:
    tries = []

    def slow(session: Session, operation: Operation) -> Reply:
        tries.append(1)
        if len(tries) == 1:
            cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'gymkhana-writer'"
            threading.Timer(0.2, lane.rows, [f"{cancel} AND datname = current_database()"]).start()
            session.execute(text("SELECT pg_sleep(1.5)"))
        return Reply(201, {})

    assert (lane.answer(write_job("toys")(slow)).kind, len(tries)) == ("", 2)


def test_a_job_that_runs_over_its_time_is_refused_for_certain(lane: Lane) -> None:
    def dawdle(session: Session, operation: Operation) -> Reply:
        session.execute(text("UPDATE counters SET value = 99"))
        session.execute(text("SELECT pg_sleep(60)"))
        return Reply(201, {})

    answer = lane.answer(write_job("toys")(dawdle))
    assert (answer.kind, answer.code) == ("unavailable", "job-too-long")
    assert lane.rows("SELECT DISTINCT value FROM counters") == [(0,)]


def test_a_lock_that_is_not_let_go_of_is_waited_for_so_long_and_no_longer(lane: Lane, counting: Any) -> None:
    with lane.server.connect(lane.name) as holder, holder.transaction():
        holder.execute("LOCK TABLE counters")
        answer = lane.answer(counting, 1, seconds=1.5)
    assert (answer.kind, answer.code) == ("unavailable", "deadline-passed")
    assert answer.database_ms > 1_000
    assert lane.answer(counting, 1).kind == ""


def test_a_job_that_comes_too_late_does_not_ask_the_database(lane: Lane, counting: Any) -> None:
    answer = lane.answer(counting, 1, seconds=-1.0)
    assert (answer.kind, answer.code, answer.database_ms) == ("unavailable", "deadline-passed", 0)


def test_a_server_that_is_away_until_the_deadline_is_told_for_certain(lane: Lane, counting: Any) -> None:
    lane.server.kill()
    try:
        answer = lane.answer(counting, 1, seconds=1.0)
    finally:
        lane.server.start()
    assert (answer.kind, answer.code) == ("unavailable", "read-only")  # nobody can write, and that is said
    assert lane.answer(counting, 1).kind == ""
    assert lane.rows("SELECT value FROM counters WHERE id = 1") == [(1,)]


def test_a_server_that_comes_back_in_time_is_not_noticed(lane: Lane, counting: Any) -> None:
    lane.server.kill()
    back = threading.Timer(0.5, lane.server.start)
    back.start()
    answer = lane.answer(counting, 1, seconds=30.0)
    back.join()
    assert answer.kind == ""


def test_readers_cannot_write(postgres: Server, database: str) -> None:
    engine = engine_for(postgres.url(database))
    with engine.connect() as connection, pytest.raises(Exception, match="read-only transaction"):
        connection.execute(text("UPDATE counters SET value = 1"))
    engine.dispose()


def test_a_transaction_that_does_nothing_is_ended_by_the_server(postgres: Server, database: str) -> None:
    limits = Limits(connections=1, statement_ms=1_000, lock_ms=500, idle_in_transaction_ms=200)
    engine = engine_for(postgres.url(database), writer=True, limits=limits)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        time.sleep(0.6)
        with pytest.raises(Exception, match="idle-in-transaction"):
            connection.execute(text("SELECT 1"))
    engine.dispose()


def test_commits_whose_answers_are_lost_on_the_way_are_applied_once_and_known(
    postgres: Server, database: str, counting: Any, tmp_path: Path
) -> None:
    """Every second answer to a COMMIT is dropped: the job is run again, and finds that it was done."""
    (tmp_path / MARKER).touch()
    (port,) = free_ports(1)
    words = ["--directory", str(tmp_path / "proxy"), "--port", str(port), "--to-port", str(postgres.port)]
    with subprocess.Popen([sys.executable, "-m", "chaos.proxy", *words], cwd=ROOT) as proxy:
        try:
            wait_until(lambda: _listens(port))
            url = postgres.url(database).replace(f":{postgres.port}/", f":{port}/")
            sessions = Sessions(engine_for(url, writer=True, limits=LIMITS), Failpoints(None), LIMITS.connections)
            lane = Lane(postgres, database)
            with make("cut-after-commit", rate=0.5, seed=1, seconds=60.0).inject(Target.at(tmp_path)) as injection:
                time.sleep(0.1)
                answers = [sessions.answer(lane.ask(counting, 1)) for _ in range(20)]
                proof = injection.proof
            sessions.close()
            lane.sessions.close()
        finally:
            proxy.terminate()
    assert proof is not None
    assert {answer.kind for answer in answers} == {""}
    assert sum(answer.replayed for answer in answers) > 0
    with postgres.connect(database) as connection:
        assert connection.execute("SELECT value FROM counters WHERE id = 1").fetchone() == (20,)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True
