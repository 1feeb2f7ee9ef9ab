"""The database as the service sees it: `Base`, `SessionLocal`, `engine_for`, and what makes a commit durable.

SQLite is used through `pysqlite3`, which carries its own library: the ones that Python and Debian link (3.7.0 to 3.51.2)
can corrupt a WAL database that two connections write and checkpoint at once. One build per process, always this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pysqlite3.dbapi2 as sqlite
from sqlalchemy import Engine, MetaData, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, QueuePool

from system.statements import Session

SCHEMA_REVISION = "0006"
"""The newest Alembic revision this code knows; a test holds it equal to the newest one in `migrations/`."""
OLDEST_SCHEMA = "0002"
"""The oldest one it can serve on: the one that made room for what it writes. What came after made that a rule, and brought
tables that it can do without."""

BUSY_TIMEOUT_MS = 5_000
CONNECT_TIMEOUT_S = 3
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


def is_sqlite(url: str) -> bool:
    """Whether the URL names a SQLite database, and not one of PostgreSQL. Raises ValueError for anything else."""
    kind = make_url(url).get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise ValueError(
            f"{url} names neither a SQLite file nor a PostgreSQL database; write sqlite:////absolute/path.db or "
            "postgresql://user@host/name"
        )
    return kind == "sqlite"


def database_name(url: str) -> str:
    """The name of the database behind a PostgreSQL URL."""
    return make_url(url).database or "postgres"


def shown(url: str) -> str:
    """The database as people are told of it: a SQLite file's path, or the URL without its password."""
    return str(sqlite_path(url)) if is_sqlite(url) else make_url(url).render_as_string(hide_password=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """On PostgreSQL: how many connections at once; how long a statement, a wait for a lock, an idle transaction may take."""

    connections: int = 10
    statement_ms: int = 5_000
    lock_ms: int = 3_000
    idle_in_transaction_ms: int = 5_000


NO_LIMITS = Limits(connections=2, statement_ms=0, lock_ms=0, idle_in_transaction_ms=0)
"""For audits and tools, which may take their time."""


def engine_for(
    url: str, *, writer: bool = False, pooled: bool = True, shipped: bool = False, limits: Limits = NO_LIMITS
) -> Engine:
    """An engine whose every connection is set up for durability.

    On SQLite: WAL, `synchronous=FULL` (a commit survives power loss, not only a killed process), foreign keys on, a busy
    timeout. With `writer` transactions begin IMMEDIATE, so that a lock is waited for at the start and never met half way;
    without it connections refuse to write. With `shipped` checkpoints are left to whoever ships the log. The file's
    directory must exist.

    On PostgreSQL: `limits` hold for every session, a connection that the server has dropped is replaced when it is next
    wanted, and without `writer` transactions are read-only.
    """
    if not is_sqlite(url):
        return _postgres(url, writer, pooled, limits)
    engine = create_engine(
        # A reader never makes a database where there is none; whoever writes may.
        f"sqlite:///file:{quote(str(sqlite_path(url)))}?mode={'rwc' if writer else 'rw'}&uri=true",
        module=sqlite,
        poolclass=QueuePool if pooled else NullPool,
        connect_args={"check_same_thread": False, "cached_statements": 512},
        hide_parameters=True,  # Among them are tokens' and passwords' hashes, and errors are logged.
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        raw: Any = connection
        raw.isolation_level = None  # the driver must not begin transactions behind SQLAlchemy's back
        for pragma in _pragmas(writer, shipped):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        if not connection.connection.driver_connection.in_transaction:  # The writer begins its batches itself.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine


def async_engine_for(url: str, limits: Limits) -> AsyncEngine:
    """An asynchronous engine of a PostgreSQL database for short reads, each statement by itself, with no pool."""
    return create_async_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",  # To a short read a transaction is two messages more than it needs.
        connect_args=_connect_arguments(limits, writer=False),
        hide_parameters=True,
    )


def _postgres(url: str, writer: bool, pooled: bool, limits: Limits) -> Engine:
    sized = {"pool_size": limits.connections, "max_overflow": 0, "pool_timeout": CONNECT_TIMEOUT_S}
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        poolclass=QueuePool if pooled else NullPool,
        **(sized if pooled else {}),
        # An audit or a board of several statements is of one moment.
        isolation_level="READ COMMITTED" if writer else "REPEATABLE READ",
        connect_args=_connect_arguments(limits, writer=writer),
        hide_parameters=True,
    )


def _connect_arguments(limits: Limits, *, writer: bool) -> dict[str, Any]:
    settings: dict[str, object] = {
        "statement_timeout": limits.statement_ms,
        "lock_timeout": limits.lock_ms,
        "idle_in_transaction_session_timeout": limits.idle_in_transaction_ms,
        # The same few statements for ever: a plan for each set of parameters costs more than it can win.
        "plan_cache_mode": "force_generic_plan",
    }
    if not writer:  # A writer's is left to the server: an operator may have made the whole of it read-only.
        settings["default_transaction_read_only"] = "on"
    return {
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        "application_name": f"gymkhana-{'writer' if writer else 'reader'}",
        "connect_timeout": CONNECT_TIMEOUT_S,
        # What is prepared is prepared by `libpq.py`; psycopg would throw all of it away with what it had prepared itself.
        "prepare_threshold": None,
        # A server that vanished without a word is noticed after this long, and not after the kernel's two hours.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }


def _pragmas(writer: bool, shipped: bool) -> tuple[str, ...]:
    # No mmap: a file truncated under a memory map ends the process with SIGBUS, where a read gives an error to act on.
    shared = (f"busy_timeout = {BUSY_TIMEOUT_MS}", "foreign_keys = ON", "temp_store = MEMORY", "cache_size = -8192")
    if writer:
        checkpoint = SHIPPED_CHECKPOINT_PAGES if shipped else CHECKPOINT_PAGES
        return ("journal_mode = WAL", "synchronous = FULL", *shared, f"wal_autocheckpoint = {checkpoint}")
    return (*shared, "query_only = ON")
