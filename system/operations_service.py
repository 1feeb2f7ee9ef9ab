"""Applied operations: recording, digesting and finding them again.

The digest of an operation is BLAKE2b-128 over one line per effect row, sorted: `relation|id|column|column|…`. It is taken
from the rows as the database holds them, when the write is applied and again by whoever audits, so a changed byte shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Select,
    String,
    Table,
    bindparam,
    cast,
    func,
    insert,
    literal_column,
    select,
    union_all,
)

from system.errors import NotFound
from system.jobs import Operation
from system.operations_models import Activity, AppliedOperation, Effect
from system.statements import Reader, Session

operations: Table = AppliedOperation.__table__  # type: ignore[assignment]
activity: Table = Activity.__table__  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Stored:
    """The stored answer of an applied operation."""

    sequence: int
    fingerprint: str
    digest: str
    status: int
    response: bytes


@dataclass(frozen=True, slots=True)
class Survivor:
    """An operation found in the database: `digest` from its effect rows now, `stored` as recorded when applied.

    `applied` counts the activity rows that carry its id: 1 when it was applied once, 0 when the record stands alone.
    """

    op: str
    run: str
    seq: int | None
    digest: str
    stored: str
    applied: int


def record(session: Session, operation: Operation, kind: str, subject_id: int | None = None, **data: Any) -> None:
    """One activity row for this operation. Every write job calls it exactly once; `data` is what the row says happened."""
    session.later(
        _INSERT_ACTIVITY,
        {
            "operation_id": operation.id,
            "kind": kind,
            "actor_id": operation.actor_id,
            "subject_id": subject_id,
            "data": msgspec.json.encode(data, order="sorted").decode(),
            "at_ms": operation.at_ms,
        },
    )


def stored(session: Session, operation_id: str) -> Stored | None:
    """The stored answer of `operation_id`, or None when it was never applied."""
    row = session.execute(_SELECT_STORED, {"operation_id": operation_id}).one_or_none()
    return None if row is None else Stored(*row)


def save(
    session: Session, operation: Operation, job: str, digest: str, status: int, response: bytes, *, alone: bool = False
) -> int:
    """Records the operation as applied, in the caller's transaction; its commit sequence is returned.

    When the transaction is this operation's `alone`, it is committed by the same message.
    """
    row = {
        "id": operation.id,
        "run": operation.run,
        "actor_id": operation.actor_id,
        "job": job,
        "fingerprint": operation.fingerprint,
        "digest": digest,
        "status": status,
        "response": response,
        "at_ms": operation.at_ms,
    }
    saved = session.finish(_INSERT_OPERATION, row) if alone else session.execute(_INSERT_OPERATION, row)
    return int(saved.scalar_one())


def digest_of(session: Session, operation_id: str, leaves: tuple[str, ...]) -> str:
    """Digest of the rows of `operation_id` in its activity and these tables, as they stand in this transaction."""
    return _digest(session.scalars(_effects_of_one(leaves), {"operation_id": operation_id}))


def find(connection: Reader, actor_id: int, operation_id: str) -> dict[str, Any]:
    """The operation as its owner may see it. Raises NotFound when it was not applied, or by somebody else."""
    row = connection.execute(_SELECT_OWN, {"operation_id": operation_id, "actor_id": actor_id}).mappings().one_or_none()
    if row is None:
        raise NotFound("operation-not-found", f"No operation {operation_id} of yours was applied.")
    return dict(row)


def digests(session: Session) -> Iterator[tuple[str, str]]:
    """Every operation id that has effect rows, with the digest taken from them now, in the order of ids."""
    rows = session.execute(_effects_of_all(), execution_options={"yield_per": 5_000})
    for operation_id, group in groupby(rows, key=itemgetter(0)):
        yield operation_id, _digest(line for _, line in group)


def survivors(session: Session, run: str) -> Iterator[Survivor]:
    """Every operation of `run` that left anything in the database, digests taken again from its rows.

    Streams in the order of ids. An id that has effect rows but no record, or the reverse, is reported too.
    """
    recorded = {row.id: row for row in session.execute(select(operations).where(operations.c.run == run)).all()}
    seen: set[str] = set()
    prefix = f"{run}."
    rows = session.execute(_effects_of_all(), execution_options={"yield_per": 5_000})
    for operation_id, group in groupby(rows, key=itemgetter(0)):
        if operation_id not in recorded and not operation_id.startswith(prefix):
            continue
        seen.add(operation_id)
        lines = [line for _, line in group]
        row = recorded.get(operation_id)
        yield Survivor(
            op=operation_id,
            run=run,
            seq=None if row is None else row.sequence,
            digest=_digest(lines),
            stored="" if row is None else row.digest,
            applied=sum(line.startswith("activity|") for line in lines),
        )
    for operation_id, row in recorded.items():
        if operation_id not in seen:
            yield Survivor(operation_id, run, row.sequence, _digest(()), row.digest, 0)


def effect_tables() -> tuple[Table, ...]:
    """The tables whose rows are effects of operations, in a fixed order."""
    return tuple(table for table, _ in _effect_tables())


def _digest(lines: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(sorted(lines)).encode(), digest_size=16).hexdigest()


@cache
def _effect_tables() -> tuple[tuple[Table, tuple[str, ...]], ...]:
    import system.models  # noqa: F401  # so that every Effect is known

    found = [(model.__table__, model.effect_columns) for model in Effect.__subclasses__()]  # type: ignore[attr-defined]
    return tuple(sorted(found, key=lambda pair: str(pair[0].name)))


def _line(table: Table, columns: tuple[str, ...]) -> ColumnElement[str]:
    line: ColumnElement[str] = _constant(table.name)
    for name in ("id", *columns):
        column = table.c[name]
        told = column if isinstance(column.type, String) else cast(column, String)
        line = line + _BAR + (func.coalesce(told, _ABSENT) if column.nullable else told)
    return line


def _constant(text: str) -> ColumnElement[str]:
    """Written into the statement: a parameter for each of a hundred separators costs more than the rows they separate."""
    return literal_column(f"'{text}'", String)


@cache
def _effects_of_one(leaves: tuple[str, ...]) -> CompoundSelect[Any]:
    wanted: BindParameter[str] = bindparam("operation_id")
    return union_all(
        *(
            select(_line(table, columns).label("line")).where(table.c.operation_id == wanted)
            for table, columns in _effect_tables()
            if table is activity or table.name in leaves
        )
    )


@cache
def _effects_of_all() -> Select[Any]:
    every = union_all(
        *(select(table.c.operation_id, _line(table, columns).label("line")) for table, columns in _effect_tables())
    ).subquery()
    return select(every.c.operation_id, every.c.line).order_by(every.c.operation_id)


_BAR = _constant("|")
_ABSENT = _constant("~")

_INSERT_ACTIVITY = insert(activity)
_INSERT_OPERATION = insert(operations).returning(operations.c.sequence)
_SELECT_STORED = select(
    operations.c.sequence, operations.c.fingerprint, operations.c.digest, operations.c.status, operations.c.response
).where(operations.c.id == bindparam("operation_id"))
_SELECT_OWN = select(
    operations.c.id, operations.c.run, operations.c.sequence, operations.c.digest, operations.c.status
).where(operations.c.id == bindparam("operation_id"), operations.c.actor_id == bindparam("actor_id"))
