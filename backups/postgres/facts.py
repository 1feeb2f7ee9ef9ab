"""The facts of one PostgreSQL database, by SQL, in the transaction that its caller opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import psycopg
from blake3 import blake3
from psycopg import sql

from backups.format.facts import Facts, TableContent, TableFacts

Connection = psycopg.Connection[Any]

_MODULUS: Final = 1 << 128
_REPORT_EVERY_ROWS: Final = 50_000
_OURS: Final = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg_temp%'"
_SCHEMA: Final = tuple(
    query.replace("OURS", _OURS)
    for query in (
        "SELECT 'column', n.nspname, c.relname, a.attnum::text, a.attname, format_type(a.atttypid, a.atttypmod),"
        " a.attnotnull::text, coalesce(pg_get_expr(d.adbin, d.adrelid), ''), a.attidentity::text, c.relkind::text"
        " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
        " WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND OURS",
        "SELECT 'index', n.nspname, c.relname, pg_get_indexdef(c.oid) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('i', 'I') AND OURS",
        "SELECT 'constraint', n.nspname, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint c"
        " JOIN pg_namespace n ON n.oid = c.connamespace WHERE OURS",
        "SELECT 'view', n.nspname, c.relname, pg_get_viewdef(c.oid) FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm') AND OURS",
        "SELECT 'function', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid), coalesce(p.prosrc, '')"
        " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE OURS",
        "SELECT 'trigger', n.nspname, c.relname, pg_get_triggerdef(t.oid) FROM pg_trigger t"
        " JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE NOT t.tgisinternal AND OURS",
    )
)
"""Everything declared: columns with type, default and nullability, indexes, constraints, views, functions, triggers."""
_TABLES: Final = (
    "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND OURS ORDER BY 1, 2"
).replace("OURS", _OURS)


def measure(connection: Connection, position_of: str | None) -> Facts:
    """The facts of the state that the connection's transaction sees.

    `page_count` is 0: how many pages a table takes is not part of the state that a transaction sees. Foreign keys are not
    counted: the server holds them itself.
    """
    tables = {
        _name(schema, table): TableFacts(_rows(connection, schema, table)) for schema, table in _tables(connection)
    }
    position_of, position = _position(connection, position_of)
    return Facts(
        tables=tables,
        schema_digest=schema_digest(connection),
        revision=_revision(connection, tables),
        position=position,
        position_of=position_of,
        page_size=int(_scalar(connection, "SHOW block_size")),
        page_count=0,
        foreign_key_violations=0,
        engine_version=str(_scalar(connection, "SHOW server_version")).split()[0],
    )


def content(connection: Connection, read_bytes: Callable[[int], None] = lambda _: None) -> dict[str, TableContent]:
    """The digest of every table's rows, each as the server writes it as text. Slow."""
    found = {}
    done_bytes = 0
    for schema, table in _tables(connection):
        total = rows = 0
        copy = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(schema, table))
        with connection.cursor() as cursor, cursor.copy(copy) as lines:
            for line in lines:
                total += int.from_bytes(blake3(line).digest(16), "little")
                done_bytes += len(line)
                rows += 1
                if rows % _REPORT_EVERY_ROWS == 0:
                    read_bytes(done_bytes)
        found[_name(schema, table)] = TableContent(rows=rows, digest=f"{total % _MODULUS:032x}")
    read_bytes(done_bytes)
    return found


def schema_digest(connection: Connection) -> str:
    """BLAKE3 (32 hex digits) of everything declared outside the system's own schemas, whatever its order."""
    rows = sorted(row for query in _SCHEMA for row in connection.execute(query).fetchall())
    return blake3(msgspec.msgpack.encode(rows)).hexdigest(16)


def _tables(connection: Connection) -> list[tuple[str, str]]:
    rows = connection.execute(_TABLES)
    return [(schema, table) for schema, table in rows]


def _name(schema: str, table: str) -> str:
    return table if schema == "public" else f"{schema}.{table}"


def _rows(connection: Connection, schema: str, table: str) -> int:
    return int(_scalar(connection, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))))


def _position(connection: Connection, position_of: str | None) -> tuple[str | None, int | None]:
    if position_of is None:
        return None, None
    table, _, column = position_of.partition(".")
    known = connection.execute(
        "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s", (f'"{table}"', column)
    ).fetchone()
    if known is None:
        return position_of, None
    highest = sql.SQL("SELECT max({}) FROM {}").format(sql.Identifier(column), sql.Identifier(table))
    found = _scalar(connection, highest)
    return position_of, None if found is None else int(found)


def _revision(connection: Connection, tables: dict[str, TableFacts]) -> str | None:
    if "alembic_version" not in tables:
        return None
    heads = [row[0] for row in connection.execute("SELECT version_num FROM alembic_version ORDER BY 1")]
    return ",".join(heads) or None


def _scalar(connection: Connection, statement: Any) -> Any:
    row = connection.execute(statement).fetchone()
    return row[0] if row else None
