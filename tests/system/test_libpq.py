"""Statements that travel together: executed in their order, undone together, and a commit that is told from its failure."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import pq

from backups.postgres.server import Server
from system.libpq import CommitFailed, Fetched, Line, Pipe

pytestmark = pytest.mark.processes

_NAMES = itertools.count(1)
INSERT = "INSERT INTO notes (id, text) VALUES ($1, $2)"
ADD = "UPDATE notes SET text = text || $2 WHERE id = $1"
ALL = "SELECT id, text FROM notes ORDER BY id"
LAST = "INSERT INTO notes (id, text) VALUES ($1, $2) RETURNING id"


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    name = f"libpq_{next(_NAMES)}"
    postgres.create_database(name)
    with postgres.connect(name) as connection:
        connection.execute("CREATE TABLE notes (id int PRIMARY KEY, text text NOT NULL)")
        connection.execute("CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    yield name
    with postgres.connect("postgres") as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def pipe(postgres: Server, database: str) -> Iterator[Pipe]:
    with psycopg.connect(postgres.url(database).replace("+psycopg", "")) as connection:
        yield Pipe(connection)


def kept(postgres: Server, database: str) -> list[tuple[int, str]]:
    """What is committed."""
    with postgres.connect(database) as connection:
        return connection.execute(ALL).fetchall()


def test_what_is_executed_later_is_executed_before_the_next_result(pipe: Pipe) -> None:
    for text in ("a", "b", "c"):
        pipe.later(ADD if text != "a" else INSERT, (1, text))
    rows, names, _ = pipe.run(ALL, ())
    assert (rows, names) == ([(1, "abc")], ("id", "text"))


def test_nothing_is_sent_before_somebody_waits_for_a_result(pipe: Pipe) -> None:
    pipe.later(INSERT, (1, "a"))
    assert pipe.connection.pgconn.transaction_status == pq.TransactionStatus.IDLE
    before = pipe.idle
    pipe.forget()
    assert (before, pipe.idle) == (False, True)
    assert pipe.run(ALL, ())[0] == []


def test_a_commit_travels_with_the_last_statement(pipe: Pipe, postgres: Server, database: str) -> None:
    pipe.later(INSERT, (1, "a"))
    rows, _, _ = pipe.commit((LAST, (2, "b")))
    assert (rows, pipe.idle) == ([(2,)], True)
    assert kept(postgres, database) == [(1, "a"), (2, "b")]


def test_what_fails_later_fails_the_next_and_nothing_after_it_is_executed(pipe: Pipe) -> None:
    pipe.later(INSERT, (1, "a"))
    pipe.later(INSERT, (1, "again"))
    pipe.later("SELECT pg_notify('after', $1)", ("x",))
    with pytest.raises(psycopg.errors.UniqueViolation):
        pipe.run(ALL, ())
    assert pipe.connection.pgconn.transaction_status == pq.TransactionStatus.INERROR
    pipe.connection.rollback()
    assert pipe.run(ALL, ())[0] == []


def test_a_last_statement_that_fails_is_certainly_not_committed(pipe: Pipe, postgres: Server, database: str) -> None:
    pipe.later(INSERT, (1, "a"))
    with pytest.raises(psycopg.errors.UniqueViolation):
        pipe.commit((LAST, (1, "b")))
    pipe.connection.rollback()
    assert kept(postgres, database) == []


def test_a_commit_that_the_server_refuses_is_told_as_that(pipe: Pipe, postgres: Server, database: str) -> None:
    pipe.later(INSERT, (1, "a"))
    for _ in range(2):
        pipe.later("INSERT INTO late VALUES ($1)", (1,))
    with pytest.raises(CommitFailed) as failed:
        pipe.commit()
    assert isinstance(failed.value.cause, psycopg.errors.UniqueViolation)
    assert pipe.idle
    assert kept(postgres, database) == []


def test_a_connection_lost_before_the_commit_is_answered_leaves_it_in_doubt(
    pipe: Pipe, postgres: Server, database: str
) -> None:
    pipe.run(LAST, (1, "a"))
    with postgres.connect(database) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (pipe.connection.pgconn.backend_pid,))
    with pytest.raises(CommitFailed) as failed:
        pipe.commit((LAST, (2, "b")))
    assert isinstance(failed.value.cause, psycopg.OperationalError)
    assert kept(postgres, database) == []


def test_a_lost_connection_is_no_commit_in_doubt_where_none_was_sent(
    pipe: Pipe, postgres: Server, database: str
) -> None:
    pipe.run(ALL, ())
    with postgres.connect(database) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (pipe.connection.pgconn.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        pipe.run(LAST, (1, "a"))


def test_a_line_that_was_lost_takes_nothing_from_the_one_that_has_its_socket_now(
    postgres: Server, database: str
) -> None:
    """It stops listening when the connection ends, and is closed once more by whoever finds it lost."""
    url = postgres.url(database).replace("+psycopg", "")

    async def story() -> tuple[bool, Fetched]:
        lost = await psycopg.AsyncConnection.connect(url, autocommit=True)
        line, number = Line(lost), lost.pgconn.socket
        with postgres.connect(database) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (lost.pgconn.backend_pid,))
        async with asyncio.timeout(20):
            while lost.pgconn.status == pq.ConnStatus.OK:
                await asyncio.sleep(0.005)
        next_one = await psycopg.AsyncConnection.connect(url, autocommit=True)
        listening = Line(next_one)
        same = next_one.pgconn.socket == number
        line.close()
        async with asyncio.timeout(5):
            found = await listening.run("SELECT 1 AS one", ())
        listening.close()
        await next_one.close()
        await lost.close()
        return same, found

    assert asyncio.run(story()) == (True, ([(1,)], ("one",), 1))


def test_a_statement_that_failed_when_it_was_first_sent_can_be_sent_again(
    pipe: Pipe, postgres: Server, database: str
) -> None:
    """What the server had prepared of the failed pipeline stays prepared; what it had not is prepared again."""
    pipe.run(ALL, ())
    pipe.later(INSERT, (1, None))
    with pytest.raises(psycopg.errors.NotNullViolation):
        pipe.run(LAST, (2, "b"))
    pipe.connection.rollback()
    pipe.later(INSERT, (1, "a"))
    assert pipe.commit((LAST, (2, "b")))[0] == [(2,)]
    assert kept(postgres, database) == [(1, "a"), (2, "b")]
