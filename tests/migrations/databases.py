"""What a database holds, and ways to spoil one."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from pysqlite3 import dbapi2 as sqlite

from system.database import sqlite_path

Contents = dict[str, list[dict[str, Any]]]


def connect(url: str) -> Any:
    return sqlite.connect(str(sqlite_path(url)), isolation_level=None, timeout=5)


def execute(url: str, *statements: str) -> None:
    with closing(connect(url)) as database:
        for statement in statements:
            database.execute(statement)


def contents(url: str) -> Contents:
    """Every row of every table but Alembic's own, by column name, in the order of rowid."""
    with closing(connect(url)) as database:
        database.row_factory = sqlite.Row
        found = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        names = [row["name"] for row in found if row["name"] not in ("alembic_version", "sqlite_sequence")]
        return {
            name: [dict(row) for row in database.execute(f'SELECT * FROM "{name}" ORDER BY rowid')] for name in names
        }


def rows(url: str) -> Contents:
    """The same of the tables that have any: a revision may make a table, and fills none."""
    return {name: found for name, found in contents(url).items() if found}


def schema(url: str) -> set[str]:
    """Every statement that made the schema, its lines sorted, so that the order of constraints does not count."""
    with closing(connect(url)) as database:
        found = database.execute(
            "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name <> 'alembic_version'"
        ).fetchall()
    return {"; ".join(sorted(line.strip(" \t,)").replace('"', "") for line in sql.splitlines())) for (sql,) in found}
