"""Does the database hold the schema this code was written for? Asked once, before anything is served."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, OperationalError

from system.database import SCHEMA_REVISION, engine_for, sqlite_path


class SchemaTrouble(Exception):
    """The database cannot be served as it is: one sentence saying why and what to do."""

    exit_code = 2


def check_schema(url: str) -> None:
    """Returns when the database behind `url` is at `SCHEMA_REVISION`. Raises SchemaTrouble otherwise; changes nothing."""
    path = sqlite_path(url)
    if not path.exists():
        raise SchemaTrouble(f"There is no database at {path}; create it with `gymkhana migrate up`.")
    engine = engine_for(url, pooled=False)
    try:
        with engine.connect() as connection:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    except OperationalError as error:
        if "no such table" not in str(error):
            raise SchemaTrouble(f"The database {path} cannot be read: {error.orig}.") from error
        raise SchemaTrouble(f"The database {path} has no schema yet; run `gymkhana migrate up`.") from error
    except DatabaseError as error:
        raise SchemaTrouble(
            f"{path} is not a SQLite database ({error.orig}); name another file or restore it."
        ) from error
    if found == [SCHEMA_REVISION]:
        return
    revision = ", ".join(found) or "none"
    if any(one > SCHEMA_REVISION for one in found):
        raise SchemaTrouble(
            f"The database {path} is at schema {revision}, newer than this code's {SCHEMA_REVISION}; "
            "run a newer version of the service."
        )
    raise SchemaTrouble(
        f"The database {path} is at schema {revision}, not {SCHEMA_REVISION}; run `gymkhana migrate up`."
    )
