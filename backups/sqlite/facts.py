"""The facts of one open SQLite database, read through its connection and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from blake3 import blake3

from backups.format.facts import Facts, TableContent, TableFacts

Connection = Any
"""A `pysqlite3.Connection`; the package has no types."""

_MODULUS = 1 << 128
_REPORT_EVERY_ROWS = 50_000


def measure(connection: Connection, position_of: str | None, *, foreign_key_violations: int = 0) -> Facts:
    """The facts of the state that the connection's transaction sees."""
    tables = {name: TableFacts(_scalar(connection, _count(name))) for name in _tables(connection)}
    position_of, position = _position(connection, position_of)
    return Facts(
        tables=tables,
        schema_digest=schema_digest(connection),
        revision=_revision(connection, tables),
        position=position,
        position_of=position_of,
        page_size=_scalar(connection, "PRAGMA page_size"),
        page_count=_scalar(connection, "PRAGMA page_count"),
        foreign_key_violations=foreign_key_violations,
        engine_version=_scalar(connection, "SELECT sqlite_version()"),
    )


def content(connection: Connection, read_bytes: Callable[[int], None] = lambda _: None) -> dict[str, TableContent]:
    """The digest of every table's rows. Slow: `read_bytes` is told how much content was read so far.

    Text and a blob with the same bytes count as the same content here; the hashes of the pages tell those apart.
    """
    done_bytes = 0
    tables = {}
    for name in _tables(connection):
        tables[name], done_bytes = _table_content(connection, name, done_bytes, read_bytes)
    return tables


def schema_digest(connection: Connection) -> str:
    """BLAKE3 (32 hex digits) of every table, index, view and trigger as it was declared, whatever their order."""
    rows = connection.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY 1, 2, 3, 4")
    return blake3(msgspec.msgpack.encode(rows.fetchall())).hexdigest(16)


def foreign_key_violations(connection: Connection) -> int:
    """How many rows refer to a row that is not there."""
    count: int = _scalar(connection, "SELECT count(*) FROM pragma_foreign_key_check")
    return count


def structural_faults(connection: Connection, *, deep: bool) -> tuple[str, ...]:
    """What SQLite's own check says is broken, empty when it says ok. `deep` also compares every index with its table."""
    pragma = "integrity_check" if deep else "quick_check"
    found = [row[0] for row in connection.execute(f"PRAGMA {pragma}(5)")]
    return () if found == ["ok"] else tuple(f"SQLite's {pragma} says: {line}." for line in found)


def _tables(connection: Connection) -> list[str]:
    """Real tables, the inner ones of virtual tables and `sqlite_sequence` included; what they show is stored in these."""
    rows = connection.execute(
        "SELECT name FROM pragma_table_list"
        " WHERE schema = 'main' AND type IN ('table', 'shadow') AND name <> 'sqlite_schema' ORDER BY name"
    )
    return [row[0] for row in rows]


def _count(name: str) -> str:
    return f"SELECT count(*) FROM {quoted(name)}"  # noqa: S608 - quoted, and from the schema itself


def _table_content(
    connection: Connection, name: str, done_bytes: int, read_bytes: Callable[[int], None]
) -> tuple[TableContent, int]:
    """The table's digest, and `done_bytes` grown by its content."""
    encode = msgspec.msgpack.Encoder().encode
    number = int.from_bytes
    rows = total = 0
    # Text as bytes: faster, and SQLite does not promise that what is stored as text is valid UTF-8.
    connection.text_factory = bytes
    try:
        for row in connection.execute(f"SELECT * FROM {quoted(name)}"):  # noqa: S608 - quoted, and from the schema itself
            encoded = encode(row)
            total += number(blake3(encoded).digest(16), "little")
            done_bytes += len(encoded)
            rows += 1
            if rows % _REPORT_EVERY_ROWS == 0:
                read_bytes(done_bytes)
    finally:
        connection.text_factory = str
    read_bytes(done_bytes)
    return TableContent(rows=rows, digest=f"{total % _MODULUS:032x}"), done_bytes


def _position(connection: Connection, position_of: str | None) -> tuple[str | None, int | None]:
    if position_of is None:
        return None, None
    table, _, column = position_of.partition(".")
    known = connection.execute("SELECT 1 FROM pragma_table_info(?) WHERE name = ?", (table, column)).fetchone()
    if known is None:
        return position_of, None
    return position_of, _scalar(connection, f"SELECT max({quoted(column)}) FROM {quoted(table)}")  # noqa: S608


def _revision(connection: Connection, tables: dict[str, TableFacts]) -> str | None:
    if "alembic_version" not in tables:
        return None
    heads = [row[0] for row in connection.execute("SELECT version_num FROM alembic_version ORDER BY 1")]
    return ",".join(heads) or None


def _scalar(connection: Connection, statement: str) -> Any:
    return connection.execute(statement).fetchone()[0]


def quoted(name: str) -> str:
    """The name as an SQL identifier, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'
