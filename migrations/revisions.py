"""Moving a database along the line of revisions: each is one transaction, begun before anybody looks where it stands.

    begin, alone -> which revision? -> the next one's statements -> foreign key check (SQLite) -> commit

A revision that fills rows first does so in batches, each the same kind of transaction: whoever is killed between two of them
leaves rows filled that the older schema has room for, and the next migrator goes on with the rest.

Alone is who begins IMMEDIATE on SQLite, and on PostgreSQL who has the advisory lock. A process killed anywhere in between
leaves the database at the revision before; a second migrator waits at the beginning and then finds nothing left to do.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pysqlite3.dbapi2 as sqlite
from alembic import command
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, event, func, inspect, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError

from migrations.differences import differences
from migrations.errors import DatabaseBusy, MigrationError, NotADatabase, NotOurs, RevisionFailed
from migrations.line import BASE, HEAD, Revision, configuration, line, place, target, way_down, way_up
from system import database, sqlstate
from system.database import Limits, engine_for, is_sqlite, shown, sqlite_path
from system.models import metadata

VERSION_TABLE = "alembic_version"
ADVISORY_LOCK = 0x67796D6B68616E61
"""PostgreSQL's lock of whoever migrates: eight bytes that spell the project's name."""
LOCK_TIMEOUT_MS = 5_000
"""PostgreSQL: how long a statement waits for a table. Whoever waits for one holds up all who come after."""

_AS_ONLINE = f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS};\n\nSELECT pg_advisory_xact_lock({ADVISORY_LOCK});"
"""What a migrator's transactions on PostgreSQL begin with, for whoever applies the statements by hand."""

Told = Callable[[Revision], None]


def current(url: str) -> str | None:
    """The revision of the database behind `url`; None when it has none yet or does not exist. Changes nothing.

    Raises NotADatabase, NotOurs, or NewerSchema when this version does not know the revision.
    """
    if _absent(url):
        return None
    with _opened(url) as connection:
        found = _found(url, connection)
    place(line(), found)
    return found


def holds_data(url: str) -> bool:
    """Whether any table of the database has a row."""
    if _absent(url):
        return False
    with _opened(url) as connection:
        quote = connection.dialect.identifier_preparer.quote
        return any(
            connection.exec_driver_sql(f"SELECT 1 FROM {quote(table)} LIMIT 1").first() is not None  # noqa: S608
            for table in inspect(connection).get_table_names()
            if table != VERSION_TABLE
        )


def check(url: str) -> tuple[str, ...]:
    """What the database lacks to be what the code expects, a sentence each; empty when nothing. Changes nothing."""
    found = current(url)
    behind = way_up(line(), found)
    if behind:
        return (f"the database is at revision {found or 'none'}, and the code expects {behind[-1].id}",)
    with _opened(url) as connection:
        return differences(connection, metadata)


def upgrade(url: str, to: str = HEAD, told: Told = lambda _: None) -> tuple[Revision, ...]:
    """The database is at `to`; what had to be applied for that, in order. `told` hears of each once it is committed.

    Raises RevisionFailed, with the database whole at the revision before the one that failed.
    """
    return _move(url, lambda found: way_up(line(), found, to), command.upgrade, lambda revision: revision.id, told)


def downgrade(url: str, to: str, told: Told = lambda _: None) -> tuple[Revision, ...]:
    """The database is at `to`; what had to be undone for that, newest first. What only the newer schema held is gone."""
    before = {revision.id: below.id for below, revision in zip((Revision(BASE, ""), *line()), line(), strict=False)}
    return _move(
        url, lambda found: way_down(line(), found, to), command.downgrade, lambda revision: before[revision.id], told
    )


def sql(url: str, found: str | None, to: str) -> str:
    """The statements that would bring a database of that kind from `found` to `to`, either way, as text."""
    dialect = make_url(url).get_backend_name()
    text = io.StringIO("PRAGMA foreign_keys = OFF;\n\n" if dialect == "sqlite" else "")
    text.seek(0, io.SEEK_END)
    config = configuration()
    config.output_buffer = text
    config.attributes["dialect"] = dialect
    start, end = place(line(), found), target(line(), to)
    if end > start:
        command.upgrade(config, f"{found or BASE}:{to}", sql=True)
    elif end < start:
        command.downgrade(config, f"{found}:{to}", sql=True)
    told = text.getvalue().rstrip() + "\n"
    return told if dialect == "sqlite" else told.replace("BEGIN;\n", f"BEGIN;\n\n{_AS_ONLINE}\n")


def _move(
    url: str,
    way: Callable[[str | None], Sequence[Revision]],
    act: Callable[..., None],
    leads_to: Callable[[Revision], str],
    told: Told,
) -> tuple[Revision, ...]:
    """One transaction after another until the way is at its end; each looks anew where the database stands."""
    done: list[Revision] = []
    while True:
        with _opened(url, writer=True) as connection, connection.begin():
            if not is_sqlite(url):
                connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))
            rest = way(_found(url, connection))
            if not rest:
                return tuple(done)
            if act is command.upgrade and _filled(url, connection, rest[0]):
                continue
            _carry_out(url, connection, rest[0], act, leads_to(rest[0]))
        done.append(rest[0])
        told(rest[0])


def _filled(url: str, connection: Connection, revision: Revision) -> int:
    """How many rows one batch of what the revision fills beforehand has filled; 0 when there is nothing to fill."""
    if not revision.backfill:
        return 0
    try:
        return connection.exec_driver_sql(revision.backfill).rowcount
    except DBAPIError as error:
        raise RevisionFailed(
            f"Revision {revision.id} ({revision.title}) could not fill rows of {shown(url)}: {error.orig}. Batches before "
            "this one are kept, and the schema is as it was."
        ) from error


def _carry_out(url: str, connection: Connection, revision: Revision, act: Callable[..., None], to: str) -> None:
    config = configuration()
    config.attributes["connection"] = connection
    try:
        act(config, to)
    except DBAPIError as error:
        raise RevisionFailed(
            f"Revision {revision.id} ({revision.title}) failed on {shown(url)}: {error.orig}. Nothing of it was kept."
        ) from error
    if connection.dialect.name != "sqlite":
        return
    torn = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if torn:
        table, row, parent, _ = torn[0]
        raise RevisionFailed(
            f"Revision {revision.id} ({revision.title}) would leave {len(torn)} rows of {shown(url)} pointing to nothing "
            f"(row {row} of {table}, to {parent}). Nothing of it was kept."
        )


def _found(url: str, connection: Connection) -> str | None:
    found = MigrationContext.configure(connection).get_current_heads()
    tables = set(inspect(connection).get_table_names()) - {VERSION_TABLE}
    if not found and tables:
        raise NotOurs(
            f"{shown(url)} holds tables ({', '.join(sorted(tables)[:3])}) and no revision: it is not a database of this "
            "service, or was not made by `gymkhana migrate`; name another."
        )
    return found[0] if found else None


@contextmanager
def _opened(url: str, *, writer: bool = False) -> Iterator[Connection]:
    """A connection of its own. On SQLite a writer's transactions begin IMMEDIATE, and its foreign keys are checked at the
    end only: a table that is rebuilt is gone for a moment, and its children must not go with it."""
    engine = engine_for(url, writer=writer, pooled=False, limits=Limits(statement_ms=0, lock_ms=LOCK_TIMEOUT_MS))
    if writer and engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def loosen(connection: DBAPIConnection, _entry: object) -> None:
            raw: Any = connection
            raw.execute("PRAGMA foreign_keys = OFF")

    try:
        with _connected(engine) as connection:
            yield connection
    except (DBAPIError, sqlite.DatabaseError) as error:
        raise _refusal(url, getattr(error, "orig", None) or error) from error
    finally:
        engine.dispose()


def _connected(engine: Engine) -> Connection:
    """A connection. SQLite does not wait for a lock while it gives a new database its log, so that is waited for here."""
    deadline = time.monotonic() + database.BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            return engine.connect()
        except OperationalError as error:
            if not _is_busy(error.orig) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _is_busy(error: BaseException | None) -> bool:
    return str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _refusal(url: str, error: BaseException) -> MigrationError:
    return _sqlite_refusal(url, error) if is_sqlite(url) else _postgres_refusal(url, error)


def _sqlite_refusal(url: str, error: BaseException) -> MigrationError:
    code = str(getattr(error, "sqlite_errorname", ""))
    if _is_busy(error):
        return DatabaseBusy(f"{shown(url)} stayed locked by another process ({error}); wait for it and run this again.")
    if code.startswith("SQLITE_NOTADB"):
        return NotADatabase(f"{shown(url)} is not a SQLite database ({error}); name another file or restore it.")
    if code.startswith("SQLITE_CANTOPEN"):
        return NotADatabase(f"{shown(url)} cannot be opened ({error}); check the path and who may write there.")
    return MigrationError(f"{shown(url)} failed ({error}); look at its disk, or restore a backup.")


def _postgres_refusal(url: str, error: BaseException) -> MigrationError:
    said = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    code = sqlstate.state(error)
    if code == sqlstate.LOCK_NOT_AVAILABLE:
        return DatabaseBusy(
            f"{shown(url)} stayed locked for {LOCK_TIMEOUT_MS / 1000:g} s by another migration or a long transaction; look "
            "for it in pg_stat_activity, wait for it and run this again."
        )
    if code in ("", "3D000", "28P01", "28000") or code.startswith("08"):
        return NotADatabase(f"{shown(url)} cannot be reached ({said}); check the address, the user and the password.")
    return MigrationError(f"{shown(url)} failed ({said}); nothing of this revision was kept.")


def _absent(url: str) -> bool:
    return is_sqlite(url) and not sqlite_path(url).exists()
