"""Group commit: one transaction for many jobs, each alone in its savepoint, and no answer without its commit."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest
from sqlalchemy import text

import system.models
from system import operations_service as operations
from system.batch import Batches
from system.database import Base, engine_for
from system.errors import Conflict
from system.failpoints import Failpoints
from system.jobs import NOTHING_HAPPENED, Operation, Reply, write_job
from system.statements import Session
from system.wire import Answer, Ask

assert system.models


@write_job("toys")
def remember(session: Session, operation: Operation, value: int) -> Reply:
    operations.record(session, operation, "remembered", value)
    return Reply(201, {"value": value})


@write_job("toys")
def stumble(session: Session, operation: Operation, value: int) -> Reply:
    remember(session, operation, value)
    raise RuntimeError("after the write, before the commit")


@write_job("toys")
def refuse(session: Session, operation: Operation, value: int) -> Reply:
    remember(session, operation, value)
    raise Conflict("no", "Not this one.")


@write_job("toys")
def dawdle(session: Session, operation: Operation, value: int) -> Reply:
    remember(session, operation, value)
    session.execute(
        text(
            "INSERT INTO activity (operation_id, kind, data, at_ms) "
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 'x', 'x', '', i FROM n"
        )
    )
    return Reply(200, {})


@write_job("toys")
def beat(session: Session, operation: Operation, value: int) -> Reply:
    return NOTHING_HAPPENED


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "gym.db"
    engine = engine_for(f"sqlite:///{path}", writer=True)
    Base.metadata.create_all(engine)
    engine.dispose()
    return path


def batches(database: Path, failpoints: Path | None = None, budget_s: float = 5.0) -> Batches:
    return Batches(engine_for(f"sqlite:///{database}", writer=True), database, Failpoints(failpoints), budget_s)


def ask(number: int, job: str, *, op: str = "", value: int = 0, deadline: float | None = None, body: str = "") -> Ask:
    operation = Operation(op or f"r.{number}", "r", 1, body, 1_000)
    wanted = time.monotonic() + 60 if deadline is None else deadline
    return Ask(number, f"test_batch.{job}", (value,), operation, wanted)


def by_number(answers: list[Answer]) -> dict[int, Answer]:
    return {answer.number: answer for answer in answers}


def remembered(database: Path) -> list[Any]:
    connection = sqlite.connect(database)
    rows = connection.execute("SELECT subject_id FROM activity ORDER BY id").fetchall()
    connection.close()
    return [value for (value,) in rows]


def test_a_batch_is_one_commit_and_every_job_is_answered(database: Path) -> None:
    writer = batches(database)
    answers = by_number(writer.run([ask(n, "remember", value=n) for n in range(5)]))
    assert remembered(database) == [0, 1, 2, 3, 4]
    assert [answers[n].sequence for n in range(5)] == [1, 2, 3, 4, 5]
    assert {answer.batch for answer in answers.values()} == {5}
    assert json.loads(answers[3].body) == {"value": 3}
    writer.close()


def test_a_job_that_raises_is_rolled_back_and_fails_alone(database: Path) -> None:
    writer = batches(database)
    answers = by_number(
        writer.run([ask(0, "remember", value=1), ask(1, "stumble", value=2), ask(2, "remember", value=3)])
    )
    assert remembered(database) == [1, 3]
    assert (answers[1].kind, answers[1].code) == ("unavailable", "job-failed")
    assert answers[0].status == answers[2].status == 201
    writer.close()


def test_a_refusal_keeps_its_code_and_leaves_nothing(database: Path) -> None:
    writer = batches(database)
    (answer,) = writer.run([ask(0, "refuse")])
    assert (answer.kind, answer.code, answer.message) == ("conflict", "no", "Not this one.")
    assert remembered(database) == []
    writer.close()


def test_a_late_job_is_refused_unrun(database: Path) -> None:
    writer = batches(database)
    (answer,) = writer.run([ask(0, "remember", deadline=time.monotonic() - 1)])
    assert (answer.kind, answer.code) == ("unavailable", "deadline-passed")
    assert remembered(database) == []
    writer.close()


def test_who_waited_for_the_lock_in_vain_tells_how_long(database: Path) -> None:
    """So that a database that is slow enough to be refused does not look like one that nobody asked."""
    writer = batches(database)
    with closing(sqlite.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as elsewhere:
            late = elsewhere.submit(writer.run, [ask(0, "remember", deadline=time.monotonic() + 0.1)])
            time.sleep(0.3)
            other.execute("ROLLBACK")
            (answer,) = late.result()
    assert (answer.kind, answer.code) == ("unavailable", "deadline-passed")
    assert answer.database_ms > 100
    assert remembered(database) == []
    writer.close()


def test_a_repeated_operation_gets_the_stored_answer_and_no_second_effect(database: Path) -> None:
    writer = batches(database)
    (first,) = writer.run([ask(0, "remember", op="r.x", value=7)])
    (again,) = writer.run([ask(1, "remember", op="r.x", value=7)])
    assert (again.replayed, again.body, again.digest, again.sequence) == (
        True,
        first.body,
        first.digest,
        first.sequence,
    )
    assert remembered(database) == [7]
    writer.close()


def test_a_repetition_inside_the_same_batch_is_applied_once(database: Path) -> None:
    writer = batches(database)
    answers = writer.run([ask(0, "remember", op="r.x", value=7), ask(1, "remember", op="r.x", value=7)])
    assert sorted(answer.replayed for answer in answers) == [False, True]
    assert remembered(database) == [7]
    writer.close()


def test_a_repeated_operation_with_another_request_is_refused(database: Path) -> None:
    writer = batches(database)
    writer.run([ask(0, "remember", op="r.x", body="one")])
    (answer,) = writer.run([ask(1, "remember", op="r.x", body="two")])
    assert (answer.kind, answer.code) == ("reused", "operation-reused")
    writer.close()


def test_a_job_over_its_budget_is_interrupted_and_the_others_are_applied(database: Path) -> None:
    writer = batches(database, budget_s=0.05)
    answers = by_number(writer.run([ask(0, "remember", value=1), ask(1, "dawdle"), ask(2, "remember", value=3)]))
    assert (answers[1].kind, answers[1].code) == ("unavailable", "job-too-long")
    assert answers[0].status == answers[2].status == 201
    assert remembered(database) == [1, 3]
    writer.close()


def test_a_beat_is_committed_and_never_recorded(database: Path) -> None:
    writer = batches(database)
    (answer,) = writer.run([ask(0, "beat")])
    assert (answer.kind, answer.status) == ("", 204)
    (again,) = writer.run([ask(0, "beat")])
    assert not again.replayed
    writer.close()


def arm(directory: Path, name: str, **changes: Any) -> None:
    armed = {"name": name, "seed": 1, "rate": 1.0, "until": time.monotonic() + 60} | changes
    (directory / f"{name}.json").write_text(json.dumps(armed))


def test_a_connection_broken_in_mid_batch_is_replaced_and_the_batch_is_run_again(
    database: Path, tmp_path: Path
) -> None:
    arm(tmp_path, "kill-connections", max_hits=1)
    writer = batches(database, tmp_path)
    answers = writer.run([ask(n, "remember", value=n) for n in range(3)])
    assert [answer.kind for answer in answers] == ["", "", ""]
    assert remembered(database) == [0, 1, 2]
    writer.close()


def test_connections_that_keep_breaking_are_a_refusal_and_nothing_is_applied(database: Path, tmp_path: Path) -> None:
    arm(tmp_path, "kill-connections")
    writer = batches(database, tmp_path)
    answers = writer.run([ask(n, "remember", value=n) for n in range(3)])
    assert {(answer.kind, answer.code) for answer in answers} == {("unavailable", "connection-lost")}
    assert remembered(database) == []
    writer.close()


def test_a_failure_in_the_transaction_leaves_nothing_of_the_job(database: Path, tmp_path: Path) -> None:
    arm(tmp_path, "fail-in-transaction", max_hits=1)
    writer = batches(database, tmp_path)
    answers = by_number(writer.run([ask(0, "remember", value=1), ask(1, "remember", value=2)]))
    assert (answers[0].code, answers[1].status) == ("job-failed", 201)
    assert remembered(database) == [2]
    writer.close()


def test_nothing_is_acknowledged_into_a_deleted_file(database: Path) -> None:
    writer = batches(database)
    database.unlink()
    (answer,) = writer.run([ask(0, "remember")])
    assert (answer.kind, answer.code) == ("unavailable", "database-fenced")
    assert answer.database_ms == 0, "it was not asked"
    assert "removed" in writer.fenced
    writer.close()


def test_a_file_deleted_between_commit_and_answer_leaves_the_outcome_unknown(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = batches(database)
    commit = Batches.commit

    def commit_then_delete(batches: Batches) -> None:
        commit(batches)
        database.unlink()

    monkeypatch.setattr(Batches, "commit", commit_then_delete)
    (answer,) = writer.run([ask(0, "remember")])
    assert (answer.kind, answer.code) == ("outcome-unknown", "database-fenced")
    writer.close()


def test_a_replaced_file_fences_for_good(database: Path) -> None:
    writer = batches(database)
    twin = database.with_name("twin.db")
    twin.write_bytes(database.read_bytes())
    twin.replace(database)
    assert "replaced" in writer.look()
    (answer,) = writer.run([ask(0, "remember")])
    assert answer.code == "database-fenced"
    writer.close()
