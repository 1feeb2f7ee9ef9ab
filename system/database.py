"""The database as the service sees it: `Base`, `SessionLocal`, `engine_for`, and the pragmas that make a commit durable.

SQLite is used through `pysqlite3`, which carries its own library: the ones that Python and Debian link (3.7.0 to 3.51.2)
can corrupt a WAL database that two connections write and checkpoint at once. One build per process, always this one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pysqlite3.dbapi2 as sqlite
from sqlalchemy import Engine, MetaData, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, QueuePool

SCHEMA_REVISION = "0002"
"""The Alembic revision this code reads and writes; a test holds it equal to the newest one in `migrations/`."""

BUSY_TIMEOUT_MS = 5_000
CHECKPOINT_PAGES = 2_000
"""The writer checkpoints when the log has grown to this many pages."""
SHIPPED_CHECKPOINT_PAGES = 65_536
"""The same while another process ships the log and checkpoints it: so late that it only happens when that one is dead."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Every table of the platform. Constraints are named, so that a migration can speak of them on any engine."""

    metadata = MetaData(naming_convention=NAMING)


SessionLocal = sessionmaker(class_=Session, expire_on_commit=False)
"""Makes sessions; the caller binds each to an engine or a connection: `SessionLocal(bind=engine)`."""


def sqlite_path(url: str) -> Path:
    """The file behind a SQLite URL, absolute. Raises ValueError for any other URL and for an in-memory database."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise ValueError(f"{url} does not name a SQLite file; write sqlite:////absolute/path.db")
    return Path(parsed.database).absolute()


def engine_for(url: str, *, writer: bool = False, pooled: bool = True, shipped: bool = False) -> Engine:
    """An engine whose every connection is set up for durability.

    On SQLite: WAL, `synchronous=FULL` (a commit survives power loss, not only a killed process), foreign keys on, a busy
    timeout. With `writer` transactions begin IMMEDIATE, so that a lock is waited for at the start and never met half way;
    without it connections refuse to write. With `shipped` checkpoints are left to whoever ships the log. The file's
    directory must exist.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(
        # A reader never makes a database where there is none; whoever writes may.
        f"sqlite:///file:{quote(str(sqlite_path(url)))}?mode={'rwc' if writer else 'rw'}&uri=true",
        module=sqlite,
        poolclass=QueuePool if pooled else NullPool,
        connect_args={"check_same_thread": False, "cached_statements": 512},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        raw: Any = connection
        raw.isolation_level = None  # the driver must not begin transactions behind SQLAlchemy's back
        for pragma in _pragmas(writer, shipped):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine


def _pragmas(writer: bool, shipped: bool) -> tuple[str, ...]:
    # No mmap: a file truncated under a memory map ends the process with SIGBUS, where a read gives an error to act on.
    shared = (f"busy_timeout = {BUSY_TIMEOUT_MS}", "foreign_keys = ON", "temp_store = MEMORY", "cache_size = -8192")
    if writer:
        checkpoint = SHIPPED_CHECKPOINT_PAGES if shipped else CHECKPOINT_PAGES
        return ("journal_mode = WAL", "synchronous = FULL", *shared, f"wal_autocheckpoint = {checkpoint}")
    return (*shared, "query_only = ON")
