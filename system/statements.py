"""Prebuilt statements on the driver's own cursor: compiled once, and nothing but the driver's work after that.

SQLAlchemy builds the SQL, names the columns and knows the types; executing through it costs several times what the
database takes for a row by its key (the events, the contexts and the result's layers of each execution). What a service
function does with a result is a small part of what it could, and that part is here: rows with names, mappings, scalars.
A statement that needs more of SQLAlchemy (a list of unknown length, an ORM entity) is left to it.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Dialect, orm
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import DBAPIError, MultipleResultsFound, NoResultFound
from sqlalchemy.sql import ClauseElement, Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util import await_only

from system import libpq

T = TypeVar("T")

Parameters = Mapping[str, Any]

KEPT: Final = 1024
"""Most compiled statements that are kept; there are as many as there are statements in the code."""


class Reader(Protocol):
    """Where a read asks: SQLAlchemy's `Connection` and `Session`, and the quicker ones of this module."""

    def execute(self, statement: Executable, parameters: Parameters | None = None, /) -> Any:
        """The statement's result. Raises `sqlalchemy.exc.DBAPIError`."""


@dataclass(slots=True)
class Compiled:
    """A statement as the driver takes it."""

    sql: str
    constants: dict[str, Any]
    order: tuple[str, ...] | None
    """The parameters' names in the order of the places; None when the driver takes them by name."""
    binds: tuple[tuple[str, Callable[[Any], Any]], ...]
    columns: tuple[Any, ...]
    """What the statement selects, as far as SQLAlchemy says."""
    processors: tuple[Callable[[Any], Any] | None, ...] | None = None
    """How the values of each column become Python's; None when they are already."""
    keys: tuple[str, ...] = ()
    row: Callable[[Any], Any] | None = None

    def arguments(self, given: Parameters) -> Any:
        """What the driver is handed."""
        if self.constants:
            given = self.constants | given  # type: ignore[operator]  # a Mapping from here is always a dict
        if self.binds:
            given = {**given, **{name: process(given[name]) for name, process in self.binds if name in given}}
        return given if self.order is None else [given[name] for name in self.order]

    def describe(self, description: Sequence[Any], dialect: Dialect) -> None:
        """Learns from a first result what the columns are called and how their values become Python's."""
        self.name(tuple(column[0] for column in description))
        if len(self.columns) == len(self.keys):
            found = tuple(
                column.type.dialect_impl(dialect).result_processor(dialect, told[1])
                for column, told in zip(self.columns, description, strict=True)
            )
            self.processors = found if any(found) else None

    def name(self, keys: tuple[str, ...]) -> None:
        """The columns are called that."""
        kind: Any = namedtuple("Row", keys, rename=True)  # type: ignore[misc]  # its fields are the statement's
        self.keys, self.row = keys, kind._make


class Results(Generic[T]):
    """Fetched rows in one of their forms."""

    __slots__ = ("_rows",)

    def __init__(self, rows: list[T]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[T]:
        return iter(self._rows)

    def all(self) -> list[T]:
        """Every row."""
        return self._rows

    def first(self) -> T | None:
        """The first row, None when there is none."""
        return self._rows[0] if self._rows else None

    def one_or_none(self) -> T | None:
        """The only row, None when there is none. Raises MultipleResultsFound."""
        if len(self._rows) > 1:
            raise MultipleResultsFound("There is more than one row where at most one was expected.")
        return self._rows[0] if self._rows else None

    def one(self) -> T:
        """The only row. Raises NoResultFound or MultipleResultsFound."""
        if not self._rows:
            raise NoResultFound("There is no row where exactly one was expected.")
        if len(self._rows) > 1:
            raise MultipleResultsFound("There is more than one row where exactly one was expected.")
        return self._rows[0]


class Rows:
    """What a statement gave: rows with names, unless they are asked for otherwise. `rowcount` tells how many it changed."""

    __slots__ = ("_compiled", "_raw", "rowcount")

    def __init__(self, compiled: Compiled, raw: list[Any], rowcount: int) -> None:
        self._compiled = compiled
        self._raw = raw
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self.all())

    def all(self) -> list[Any]:
        """Every row."""
        make = self._compiled.row
        return self._raw if make is None else [make(row) for row in self._raw]

    def first(self) -> Any:
        """The first row, None when there is none."""
        return self._named().first()

    def one_or_none(self) -> Any:
        """The only row, None when there is none. Raises MultipleResultsFound."""
        return self._named().one_or_none()

    def one(self) -> Any:
        """The only row. Raises NoResultFound or MultipleResultsFound."""
        return self._named().one()

    def mappings(self) -> Results[dict[str, Any]]:
        """The rows as dictionaries of their columns."""
        keys = self._compiled.keys
        return Results([dict(zip(keys, row, strict=True)) for row in self._raw])

    def scalars(self) -> Results[Any]:
        """The first column."""
        return Results([row[0] for row in self._raw])

    def scalar_one(self) -> Any:
        """The first column of the only row. Raises NoResultFound or MultipleResultsFound."""
        return self.scalars().one()

    def scalar_one_or_none(self) -> Any:
        """The same, None when there is no row."""
        return self.scalars().one_or_none()

    def _named(self) -> Results[Any]:
        return Results(self.all())


class Statements:
    """The compiled statements of one dialect, and how its driver's results and errors are told."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.error: type[Exception] = dialect.loaded_dbapi.Error
        self._libpq = dialect.driver in ("psycopg", "psycopg_async")
        self.piped = dialect.driver == "psycopg"
        # libpq wants its parameters numbered; what executes many at once is psycopg's own, and wants them named.
        self._numbered: Dialect = PGDialect_psycopg(paramstyle="numeric_dollar") if self._libpq else dialect  # type: ignore[no-untyped-call]
        self._kept: dict[tuple[Any, ...], tuple[Any, Compiled | None]] = {}

    def find(self, statement: Any, parameters: Parameters, *, many: bool = False) -> Compiled | None:
        """The statement, compiled for these parameters' names; None when it is SQLAlchemy's to execute."""
        key = (id(statement), many, *parameters)
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            # With the statement itself: its identity is its own for as long as it lives.
            kept = self._kept[key] = (statement, self._compile(statement, list(parameters), many))
        return kept[1]

    def run(self, raw: Any, compiled: Compiled, given: Any, *, many: bool = False) -> Rows:
        """The result on the driver's connection `raw`. Raises DBAPIError, as SQLAlchemy would."""
        arguments = [compiled.arguments(one) for one in given] if many else compiled.arguments(given)
        try:
            if self._libpq and not many:
                return self._told_by_libpq(compiled, libpq.run(raw, compiled.sql, arguments))
            cursor = raw.cursor()
            if many:
                cursor.executemany(compiled.sql, arguments)
            else:
                cursor.execute(compiled.sql, arguments)
            return self._rows(compiled, cursor, [] if cursor.description is None else cursor.fetchall())
        except self.error as error:
            raise self.told(error, compiled.sql, raw) from error

    async def run_async(self, line: libpq.Line, raw: Any, compiled: Compiled, given: Parameters) -> Rows:
        """The same on an asynchronous connection."""
        try:
            return self._told_by_libpq(compiled, await line.run(compiled.sql, compiled.arguments(given)))
        except self.error as error:
            raise self.told(error, compiled.sql, raw) from error

    def run_piped(self, pipe: libpq.Pipe, compiled: Compiled, given: Parameters) -> Rows:
        """The result, after what was to be executed before it. Raises DBAPIError."""
        try:
            return self._told_by_libpq(compiled, pipe.run(compiled.sql, compiled.arguments(given)))
        except self.error as error:
            raise self.told(error, compiled.sql, pipe.connection) from error

    def commit_piped(self, pipe: libpq.Pipe, compiled: Compiled | None, given: Parameters) -> Rows | None:
        """The result, and it is committed. Raises DBAPIError, or CommitFailed."""
        try:
            if compiled is None:
                pipe.commit()
                return None
            return self._told_by_libpq(compiled, pipe.commit((compiled.sql, compiled.arguments(given))))
        except libpq.CommitFailed as failed:
            told = self.told(failed.cause, "COMMIT", pipe.connection)
            raise CommitFailed(told) from failed.cause
        except self.error as error:
            raise self.told(error, compiled.sql if compiled else "", pipe.connection) from error

    def command(self, raw: Any, sql: str) -> None:
        """A statement without parameters or result. Raises DBAPIError."""
        try:
            if self._libpq:
                libpq.command(raw, sql)
            else:
                raw.execute(sql)
        except self.error as error:
            raise self.told(error, sql, raw) from error

    def told(self, error: Exception, sql: str, raw: Any) -> DBAPIError:
        """The driver's error as SQLAlchemy's."""
        lost = self.dialect.is_disconnect(error, raw, None)  # type: ignore[arg-type]  # one of the driver's
        told = DBAPIError.instance(
            sql, None, error, self.error, hide_parameters=True, connection_invalidated=lost, dialect=self.dialect
        )
        assert isinstance(told, DBAPIError)
        return told

    def _compile(self, statement: Any, names: list[str], many: bool) -> Compiled | None:
        if not isinstance(statement, ClauseElement) or statement._propagate_attrs:  # an ORM entity's
            return None
        more: dict[str, Any] = (
            {"column_keys": names, "for_executemany": many} if getattr(statement, "is_dml", False) else {}
        )
        built = statement.compile(dialect=self.dialect if many else self._numbered, **more)
        if not isinstance(built, SQLCompiler) or built.post_compile_params or built.literal_execute_params:
            return None
        constants = {name: value for name, value in built.params.items() if name not in names}
        for column in (*built.insert_prefetch, *built.update_prefetch):
            default: Any = column.default
            if default is None or not default.is_scalar:
                return None
            constants[str(column.key)] = default.arg
        return Compiled(
            sql=str(built),
            constants=constants,
            order=tuple(built.positiontup or ()) if built.positional else None,
            binds=tuple(built._bind_processors.items()),  # type: ignore[arg-type]  # each takes one value
            columns=tuple(_columns(statement)),
        )

    def _told_by_libpq(self, compiled: Compiled, fetched: libpq.Fetched) -> Rows:
        rows, names, changed = fetched
        if compiled.row is None and names:
            compiled.name(names)
        return Rows(compiled, rows, changed)

    def _rows(self, compiled: Compiled, cursor: Any, fetched: list[Any]) -> Rows:
        if compiled.row is None and cursor.description is not None:
            compiled.describe(cursor.description, self.dialect)
        if compiled.processors is not None:
            fetched = [
                tuple(
                    value if process is None else process(value)
                    for value, process in zip(row, compiled.processors, strict=True)
                )
                for row in fetched
            ]
        return Rows(compiled, fetched, cursor.rowcount)


def _columns(statement: Any) -> Iterable[Any]:
    """What the statement selects or returns."""
    found: Iterable[Any] = (
        getattr(statement, "selected_columns", None) or getattr(statement, "exported_columns", None) or ()
    )
    return found


_KNOWN: dict[tuple[str, bool], Statements] = {}


def statements_for(dialect: Dialect) -> Statements:
    """The statements of that kind of dialect, which every engine of the process shares."""
    key = (dialect.name, dialect.is_async)
    if key not in _KNOWN:
        _KNOWN[key] = Statements(dialect)
    return _KNOWN[key]


class DriverReader:
    """Reads on a driver's connection."""

    def __init__(self, raw: Any, statements: Statements) -> None:
        self._raw = raw
        self._statements = statements

    def execute(self, statement: Executable, parameters: Parameters | None = None, /) -> Any:
        """The statement's rows. Raises DBAPIError."""
        given = parameters or {}
        return self._statements.run(self._raw, self._prebuilt(statement, given), given)

    def _prebuilt(self, statement: Executable, given: Parameters) -> Compiled:
        compiled = self._statements.find(statement, given)
        if compiled is None:
            raise TypeError(f"{statement} is no prebuilt statement: it is for the long reads.")
        return compiled


class AsyncDriverReader(DriverReader):
    """The same on an asynchronous connection, for a function that was spawned to wait for it (`greenlet_spawn`)."""

    def __init__(self, raw: Any, statements: Statements) -> None:
        super().__init__(raw, statements)
        self._line = libpq.Line(raw)

    def close(self) -> None:
        """Listens no more; to be called before the connection is closed."""
        self._line.close()

    def execute(self, statement: Executable, parameters: Parameters | None = None, /) -> Any:
        given = parameters or {}
        compiled = self._prebuilt(statement, given)
        return await_only(self._statements.run_async(self._line, self._raw, compiled, given))


class CommitFailed(Exception):
    """The commit itself failed, or its answer was lost: what the transaction did may be kept."""

    def __init__(self, cause: DBAPIError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Session(orm.Session):
    """SQLAlchemy's, whose prebuilt statements go the short way, and whose savepoints are nothing but savepoints.

    On PostgreSQL statements that nobody waits for travel with the next one.
    """

    _raw: Any = None
    _pipe: libpq.Pipe | None = None
    _held: Connection | None = None
    _statements: Statements | None = None
    depth = 0
    """How many savepoints there are within each other: few names are few statements to be kept by the driver."""

    def execute(self, statement: Any, params: Any = None, **more: Any) -> Any:
        """The statement's result. Raises DBAPIError."""
        many = isinstance(params, list)
        if more or (many and not params):
            return self._by_sqlalchemy(statement, params, more)
        raw, statements = self._driver()
        names = params[0] if many else params or {}
        compiled = statements.find(statement, names, many=many)
        if compiled is None:
            return self._by_sqlalchemy(statement, params, more)
        try:
            if self._pipe is None:
                return statements.run(raw, compiled, params if many else names, many=many)
            if not many:
                return statements.run_piped(self._pipe, compiled, names)
            self.settle()
            return statements.run(raw, compiled, params, many=True)
        except DBAPIError as error:
            self._distrust(error)
            raise

    def later(self, statement: Any, params: Parameters) -> None:
        """It is executed before the next statement whose result is wanted. Raises DBAPIError, now or then."""
        _, statements = self._driver()
        compiled = statements.find(statement, params) if self._pipe is not None else None
        if compiled is None or self._pipe is None:
            self.execute(statement, params)
        else:
            self._pipe.later(compiled.sql, compiled.arguments(params))

    def settle(self) -> None:
        """Whatever was to be executed later has been. Raises DBAPIError."""
        if self._pipe is None or self._statements is None:
            return
        try:
            self._pipe.settle()
        except self._statements.error as error:
            told = self._statements.told(error, "", self._raw)
            self._distrust(told)
            raise told from error

    def finish(self, statement: Any = None, params: Parameters | None = None) -> Any:
        """The last statement's result; the transaction is committed, and its connection kept for the next.

        Raises DBAPIError while it is certain that nothing was committed, and CommitFailed when it is not.
        """
        _, statements = self._driver()
        given = params or {}
        compiled = None if statement is None else statements.find(statement, given)
        if self._pipe is None or (compiled is None and statement is not None):
            raise TypeError("Only prebuilt statements on PostgreSQL are finished.")
        if compiled is None and self._pipe.idle:
            return None
        try:
            return statements.commit_piped(self._pipe, compiled, given)
        except DBAPIError as error:
            self._distrust(error)
            raise
        except CommitFailed as failed:
            self._distrust(failed.cause)
            raise

    def scalars(self, statement: Any, params: Any = None, **more: Any) -> Any:
        """The first column of its rows. Raises DBAPIError."""
        return self.execute(statement, params, **more).scalars()

    def hold(self, connection: Connection) -> Any:
        """Statements go to that connection, whose transactions are begun and ended by the caller; the driver's own one.

        SQLAlchemy takes part once it has a statement to execute itself.
        """
        self._held = connection
        self._statements = statements_for(connection.dialect)
        self._raw = connection.connection.driver_connection
        return self._raw

    def savepoint(self) -> Savepoint:
        """From here on everything can be undone without the rest of the transaction."""
        return Savepoint(self)

    def command(self, sql: str) -> None:
        """A statement without parameters or result, on the driver's connection. Raises DBAPIError."""
        raw, statements = self._driver()
        self.settle()
        try:
            statements.command(raw, sql)
        except DBAPIError as error:
            self._distrust(error)
            raise

    def undo(self) -> None:
        """What was done since the last `finish` is undone; the connection is kept. Raises DBAPIError."""
        raw, statements = self._driver()
        if self._pipe is None:
            raise TypeError("Only a session on PostgreSQL is undone.")
        try:
            self._pipe.undo()
        except statements.error as error:
            raise statements.told(error, "ROLLBACK", raw) from error

    def forget(self) -> None:
        """What was to be executed later is not."""
        if self._pipe is not None:
            self._pipe.forget()

    def commit(self) -> None:
        self.settle()
        self._leave()
        super().commit()

    def rollback(self) -> None:
        self._leave()
        self.depth = 0
        super().rollback()

    def close(self) -> None:
        self._leave()
        self.depth = 0
        super().close()

    def _leave(self) -> None:
        self._raw = self._pipe = None

    def _by_sqlalchemy(self, statement: Any, params: Any, more: dict[str, Any]) -> Any:
        self.settle()
        return super().execute(statement, params, **more)

    def _driver(self) -> tuple[Any, Statements]:
        if self._raw is None or self._statements is None:
            connection = self.connection()
            self._statements = statements_for(connection.dialect)
            self._raw = connection.connection.driver_connection
            self._pipe = libpq.Pipe(self._raw) if self._statements.piped else None
        return self._raw, self._statements

    def _distrust(self, error: DBAPIError) -> None:
        if error.connection_invalidated:
            self._leave()
            (self._held or self.connection()).invalidate(error)


class Savepoint:
    """A part of a session's transaction. As a context: undone when the block raises."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._name = f"gymkhana_{session.depth}"
        session.command(f"SAVEPOINT {self._name}")
        session.depth += 1

    def __enter__(self) -> Savepoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.rollback()

    def commit(self) -> None:
        """What was done since is the transaction's. Raises DBAPIError."""
        self._session.command(f"RELEASE SAVEPOINT {self._name}")
        self._session.depth -= 1

    def rollback(self) -> None:
        """What was done since is undone. Raises DBAPIError."""
        self._session.forget()
        self._session.command(f"ROLLBACK TO SAVEPOINT {self._name}")
        self.commit()
