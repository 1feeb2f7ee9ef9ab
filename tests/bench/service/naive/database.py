"""Engine and sessions of the obvious version: one ORM session for each request, and durable commits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import quote

import pysqlite3.dbapi2 as sqlite
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.orm import Session

POOL = 20
PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 10000")


@cache
def engine() -> Engine:
    """The engine of the database that `DATABASE_URL` names."""
    url = make_url(os.environ["DATABASE_URL"])
    if url.get_backend_name() != "sqlite":
        return create_engine(url.set(drivername="postgresql+psycopg"), pool_size=POOL, max_overflow=0)
    made = create_engine(
        f"sqlite:///file:{quote(str(url.database))}?mode=rw&uri=true",
        module=sqlite,
        pool_size=POOL,
        max_overflow=0,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(made, "connect")
    def prepare(connection: Any, _entry: Any) -> None:
        connection.isolation_level = None
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(made, "begin")
    def begin(connection: Any) -> None:
        # Whoever is going to write waits for the lock at the start: upgrading half way fails where nobody can wait.
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return made


def get_session() -> Iterator[Session]:
    """A session to read with."""
    with Session(engine()) as session:
        yield session


def get_writing_session() -> Iterator[Session]:
    """A session to write with; the handler commits."""
    with Session(engine().execution_options(begin="BEGIN IMMEDIATE")) as session:
        yield session
