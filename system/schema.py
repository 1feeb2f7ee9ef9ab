"""Can this code serve on the schema the database holds? Asked once, before anything is served.

From the oldest revision that has room for what the code writes, to the newest one it knows and the one after that: every
revision leaves alone whatever served before it (expand, then contract), so that a service is never ended by a migration.
"""

from __future__ import annotations

import time

from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, OperationalError

from system import sqlstate
from system.database import OLDEST_SCHEMA, SCHEMA_REVISION, engine_for, is_sqlite, shown, sqlite_path

SERVER_PATIENCE_S = 10.0


class SchemaTrouble(Exception):
    """The database cannot be served as it is: one sentence saying why and what to do."""

    exit_code = 2


def check_schema(url: str) -> None:
    """Returns when the database behind `url` is at a revision of `served`, else raises SchemaTrouble. Changes nothing."""
    found = _sqlite_revisions(url) if is_sqlite(url) else _postgres_revisions(url)
    if len(found) == 1 and found[0] in served(OLDEST_SCHEMA, SCHEMA_REVISION):
        return
    revision = ", ".join(found) or "none"
    if any(one > SCHEMA_REVISION for one in found):
        raise SchemaTrouble(
            f"The database {shown(url)} is at schema {revision}, newer than this code's {SCHEMA_REVISION}; "
            "run a newer version of the service."
        )
    raise SchemaTrouble(
        f"The database {shown(url)} is at schema {revision}, not {SCHEMA_REVISION}; run `gymkhana migrate up`."
    )


def served(oldest: str, newest: str) -> tuple[str, ...]:
    """The revisions that code of these two serves on. They are numbered, and the one after the newest is among them."""
    return tuple(f"{number:04}" for number in range(int(oldest), int(newest) + 2))


def _sqlite_revisions(url: str) -> list[str]:
    path = sqlite_path(url)
    if not path.exists():
        raise SchemaTrouble(f"There is no database at {path}; create it with `gymkhana migrate up`.")
    try:
        return _revisions(url)
    except OperationalError as error:
        if "no such table" not in str(error):
            raise SchemaTrouble(f"The database {path} cannot be read: {error.orig}.") from error
        raise SchemaTrouble(f"The database {path} has no schema yet; run `gymkhana migrate up`.") from error
    except DatabaseError as error:
        raise SchemaTrouble(
            f"{path} is not a SQLite database ({error.orig}); name another file or restore it."
        ) from error


def _postgres_revisions(url: str) -> list[str]:
    """A server that is away is waited for: it may be coming back from the very accident that ended us."""
    deadline = time.monotonic() + SERVER_PATIENCE_S
    while True:
        try:
            return _revisions(url)
        except DatabaseError as error:
            if sqlstate.state(error) == sqlstate.UNDEFINED_TABLE:
                raise SchemaTrouble(
                    f"The database {shown(url)} has no schema yet; run `gymkhana migrate up`."
                ) from error
            if not sqlstate.lost(error) or time.monotonic() > deadline:
                said = str(error.orig).strip().splitlines()[-1]
                raise SchemaTrouble(
                    f"The database {shown(url)} cannot be reached: {said}; look at the server, the address and the password."
                ) from error
        time.sleep(0.05)


def _revisions(url: str) -> list[str]:
    engine = engine_for(url, pooled=False)
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all())
