"""Statements of PostgreSQL by libpq itself: prepared on their connection, and as few messages as there are questions.

psycopg makes the connection, keeps it and closes it, and its loaders turn values into Python's. Its cursors build a query, a
plan for it and a description of the result each time, which takes longer than the server does for a row by its key.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Sequence
from itertools import count
from typing import Any, Final
from weakref import WeakKeyDictionary

import psycopg
from psycopg import abc, pq
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result

Fetched = tuple[list[Any], tuple[str, ...], int]
"""The rows, the columns' names (none where there is no result), and how many rows were found or changed."""

_TEXT: Final = 0
_GOOD: Final = frozenset((pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK))

Told = tuple[str, Sequence[Any]]
"""A statement and its values; `$1` is the first."""

_Ready = tuple[str, list[Any]]
"""A statement and its values as texts: nothing can go wrong with them once the first message has been sent."""

_numbers = count(1)
_prepared: WeakKeyDictionary[Any, dict[str, bytes]] = WeakKeyDictionary()
"""What is prepared on which connection, and under which name."""


def run(connection: psycopg.Connection[Any], sql: str, values: Sequence[Any]) -> Fetched:
    """The statement's result; `$1` is the first value. A transaction is begun where none is. Raises psycopg.Error."""
    known = _known(connection)
    begin(connection)
    name = known.get(sql)
    if name is None:
        name = _name()
        _checked(connection.pgconn.prepare(name, sql.encode()))
        known[sql] = name
    return _fetched(connection, _checked(connection.pgconn.exec_prepared(name, _texts(values), result_format=_TEXT)))


def command(connection: psycopg.Connection[Any], sql: str) -> None:
    """The command was carried out, in a transaction. Raises psycopg.Error."""
    begin(connection)
    _checked(connection.pgconn.exec_(sql.encode()))


def begin(connection: psycopg.Connection[Any]) -> None:
    """The connection is in a transaction, as isolated as it is set to make them. Raises psycopg.Error."""
    if not connection.autocommit and connection.pgconn.transaction_status == pq.TransactionStatus.IDLE:
        _checked(connection.pgconn.exec_(_begin(connection)))


def _begin(connection: psycopg.Connection[Any]) -> bytes:
    level, read_only = connection.isolation_level, connection.read_only
    words = [b"BEGIN"]
    if level is not None:
        words.append(b"ISOLATION LEVEL " + level.name.replace("_", " ").encode())
    if read_only is not None:
        words.append(b"READ ONLY" if read_only else b"READ WRITE")
    return b" ".join(words)


class CommitFailed(Exception):
    """A COMMIT was sent and not answered with success: only from the cause can it be known whether the server made it."""

    def __init__(self, cause: psycopg.Error) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Pipe:
    """A connection whose statements travel together: what nobody waits for goes with the next that somebody does.

    A transaction is begun by the first statement's message and can be committed by the last one's. When a statement fails,
    those after it are not executed, the COMMIT among them.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self._pgconn = connection.pgconn
        self._known = _known(connection)
        self._loading = Transformer(connection)
        self._begin = _begin(connection)
        self._later: list[_Ready] = []
        self._arrived = select.poll()
        self._arrived.register(self._pgconn.socket, select.POLLIN)

    @property
    def idle(self) -> bool:
        """Whether there is no transaction, and nothing that would begin one."""
        return not self._later and self._pgconn.transaction_status == pq.TransactionStatus.IDLE

    def later(self, sql: str, values: Sequence[Any]) -> None:
        """The statement is sent with the next one whose result is wanted, and executed before it."""
        self._later.append((sql, _texts(values)))

    def run(self, sql: str, values: Sequence[Any]) -> Fetched:
        """The statement's result. Raises psycopg.Error, of this statement or of one that was to be executed before it."""
        name = self._known.get(sql)
        texts = _texts(values)
        if name is not None and not self._later and self._pgconn.transaction_status == pq.TransactionStatus.INTRANS:
            return _loaded(self._loading, _checked(self._pgconn.exec_prepared(name, texts, result_format=_TEXT)))
        return self._together((sql, texts))

    def settle(self) -> None:
        """Everything that was to be executed later has been. Raises psycopg.Error."""
        if self._later:
            self._together(self._later.pop())

    def commit(self, last: Told | None = None) -> Fetched:
        """The transaction is committed, the last statement in it; its result. Raises psycopg.Error, or CommitFailed."""
        return self._together(None if last is None else (last[0], _texts(last[1])), commit=True)

    def forget(self) -> None:
        """Nothing is executed later."""
        self._later.clear()

    def undo(self) -> None:
        """There is no transaction any more. Raises psycopg.Error."""
        self.forget()
        if self._pgconn.transaction_status != pq.TransactionStatus.IDLE:
            _checked(self._pgconn.exec_(b"ROLLBACK"))

    def _together(self, last: _Ready | None, *, commit: bool = False) -> Fetched:
        told, self._later = self._later if last is None else [*self._later, last], []
        preparing: dict[int, str] = {}
        pgconn, known = self._pgconn, self._known
        pgconn.enter_pipeline_mode()
        try:
            sent = int(pgconn.transaction_status == pq.TransactionStatus.IDLE)
            if sent:
                pgconn.send_query_params(self._begin, None)
            for sql, texts in told:
                name = known.get(sql)
                if name is None:
                    name = known[sql] = _name()
                    preparing[sent] = sql
                    pgconn.send_prepare(name, sql.encode())
                    sent += 1
                pgconn.send_query_prepared(name, texts, result_format=_TEXT)
                sent += 1
            if commit:
                pgconn.send_query_params(b"COMMIT", None)
            pgconn.pipeline_sync()
            results = self._results()
        except psycopg.Error as error:
            if commit:
                raise CommitFailed(error) from error
            raise
        finally:
            with contextlib.suppress(psycopg.Error):  # Of a connection that is lost.
                pgconn.exit_pipeline_mode()
        for place, sql in preparing.items():
            if results[place].status not in _GOOD:
                del known[sql]
        for result in results[:sent]:
            _checked(result)
        if commit and results[sent].status not in _GOOD:
            raise CommitFailed(error_from_result(results[sent]))
        try:
            return _loaded(self._loading, results[sent - 1]) if told else ([], (), 0)
        except Exception as error:
            if commit:  # It is made: whatever fails from here on must not pass for something that was undone.
                raise CommitFailed(psycopg.InterfaceError(f"the answer to a commit cannot be read: {error}")) from error
            raise

    def _results(self) -> list[pq.abc.PGresult]:
        """One for each message but the last, which ends them."""
        pgconn = self._pgconn
        found: list[pq.abc.PGresult] = []
        try:
            while True:
                while pgconn.is_busy():
                    self._arrived.poll()
                    pgconn.consume_input()
                result = pgconn.get_result()
                if result is not None:
                    if result.status == pq.ExecStatus.PIPELINE_SYNC:
                        return found
                    found.append(result)
                elif pgconn.status != pq.ConnStatus.OK:
                    raise psycopg.OperationalError("the connection was lost")
        except psycopg.Error as error:  # The server may have said why, before it hung up.
            raise next((error_from_result(one) for one in found if one.status not in _GOOD), error) from error


class Line:
    """An asynchronous connection, asked by one task at a time. A task that is cancelled leaves it unusable."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._socket = self._pgconn.socket
        self._waiting: asyncio.Future[pq.abc.PGresult] | None = None
        self._loop.add_reader(self._socket, self._arrived)
        self._listening = True

    async def run(self, sql: str, values: Sequence[Any]) -> Fetched:
        """The statement's result. Raises psycopg.Error."""
        known = _known(self._connection)
        name = known.get(sql)
        if name is None:
            name = _name()
            self._pgconn.send_prepare(name, sql.encode())
            _checked(await self._result())
            known[sql] = name
        self._pgconn.send_query_prepared(name, _texts(values), result_format=_TEXT)
        return _fetched(self._connection, _checked(await self._result()))

    def close(self) -> None:
        """Nothing is listened for any more; whoever made the connection closes it. A second time nothing is done.

        libpq lets go of the socket of a lost connection, and the next connection's may have the same number.
        """
        if not self._listening:
            return
        self._listening = False
        with contextlib.suppress(ValueError, OSError):
            self._loop.remove_reader(self._socket)

    async def _result(self) -> pq.abc.PGresult:
        while self._pgconn.flush():  # The kernel took only a part of it.
            await asyncio.sleep(0.001)
        self._waiting = self._loop.create_future()
        try:
            return await self._waiting
        finally:
            self._waiting = None

    def _arrived(self) -> None:
        """Called when there is something to read, or the server has hung up."""
        waiting = self._waiting
        try:
            self._pgconn.consume_input()
            if waiting is None or waiting.done() or self._pgconn.is_busy():
                return
            result = self._pgconn.get_result()
            if result is None:
                raise psycopg.OperationalError("the server closed the connection")
            while self._pgconn.get_result() is not None:
                pass
        except psycopg.Error as error:
            self.close()
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)
        else:
            waiting.set_result(result)


def _known(connection: Any) -> dict[str, bytes]:
    known = _prepared.get(connection)
    if known is None:
        known = _prepared[connection] = {}
    return known


def _name() -> bytes:
    """One that no statement of this process has: what was once prepared stays so, whatever became of its transaction."""
    return b"gymkhana_%d" % next(_numbers)


def _texts(values: Sequence[Any]) -> list[Any]:
    """The values as PostgreSQL reads them: numbers, texts, truths, and bytes in hexadecimal."""
    return [_text(value) for value in values]


def _text(value: Any) -> bytes | None:
    if value is None:
        return None
    if value is True or value is False:
        return b"t" if value else b"f"
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    if isinstance(value, (int, float)):
        return str(value).encode()
    raise TypeError(f"{type(value).__name__} is nothing that a prebuilt statement is given.")


def _checked(result: pq.abc.PGresult) -> pq.abc.PGresult:
    if result.status not in _GOOD:
        raise error_from_result(result)
    return result


def _fetched(connection: Any, result: pq.abc.PGresult) -> Fetched:
    return _loaded(Transformer(connection), result)


def _loaded(loading: abc.Transformer, result: pq.abc.PGresult) -> Fetched:
    changed = result.command_tuples or 0
    if result.status != pq.ExecStatus.TUPLES_OK:
        return [], (), changed
    names = tuple((result.fname(column) or b"").decode() for column in range(result.nfields))
    loading.set_pgresult(result)
    return loading.load_rows(0, result.ntuples, tuple), names, changed
