"""Where a database and the models disagree, in words: what the next revision would have to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, MetaData, inspect


def differences(connection: Connection, metadata: MetaData) -> tuple[str, ...]:
    """A sentence for each thing in which the schema behind `connection` is not that of `metadata`; empty when all is equal.

    Tables, columns, types, defaults, indexes, unique and foreign keys are compared by Alembic; checks, which it leaves out,
    by their names.
    """
    context = MigrationContext.configure(connection, opts={"target_metadata": metadata})
    found = [_said(operation) for operation in _flat(compare_metadata(context, metadata))]
    return (*found, *_checks(connection, metadata))


def _checks(connection: Connection, metadata: MetaData) -> Iterator[str]:
    seen = inspect(connection)
    there = set(seen.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in there:
            continue
        wanted = {str(check.name) for check in table.constraints if isinstance(check, CheckConstraint)}
        found = {str(check["name"]) for check in seen.get_check_constraints(table.name)}
        yield from (
            f"the models check {name} on {table.name}, the database does not" for name in sorted(wanted - found)
        )
        yield from (f"the database checks {name} on {table.name}, the models do not" for name in sorted(found - wanted))


def _flat(operations: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Alembic puts the changes of one column into a list of their own."""
    for operation in operations:
        if isinstance(operation, list):
            yield from operation
        else:
            yield operation


def _said(operation: tuple[Any, ...]) -> str:
    """`("add_column", None, "users", Column("bio"))` is `to match the models: add column users.bio`."""
    verb = str(operation[0]).replace("_", " ")
    thing = operation[-1]
    table = getattr(getattr(thing, "table", None), "name", None)
    if verb.startswith("modify"):
        _, _, table, column, _, old, new = operation
        return f"to match the models: {verb} of {table}.{column} from {old} to {new}"
    if verb.endswith("column"):
        return f"to match the models: {verb} {operation[2]}.{thing.name}"
    return f"to match the models: {verb} {thing.name}" + (f" on {table}" if table else "")
