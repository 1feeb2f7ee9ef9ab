"""Statements of PostgreSQL by libpq itself: prepared on their connection, one message there and one back.

psycopg makes the connection, keeps it and closes it, and its loaders turn values into Python's. Its cursors build a query, a
plan for it and a description of the result each time, which takes longer than the server does for a row by its key.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result

Fetched = tuple[list[Any], tuple[str, ...], int]
"""The rows, the columns' names (none where there is no result), and how many rows were found or changed."""

_TEXT: Final = 0
_GOOD: Final = frozenset((pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK))

_prepared: WeakKeyDictionary[Any, dict[str, bytes]] = WeakKeyDictionary()
"""What is prepared on which connection, and under which name."""


def run(connection: psycopg.Connection[Any], sql: str, values: Sequence[Any]) -> Fetched:
    """The statement's result; `$1` is the first value. A transaction is begun where none is. Raises psycopg.Error."""
    known = _known(connection)
    begin(connection)
    name = known.get(sql)
    if name is None:
        name = _name(known)
        _checked(connection.pgconn.prepare(name, sql.encode()))
        known[sql] = name
    return _fetched(connection, _checked(connection.pgconn.exec_prepared(name, _texts(values), result_format=_TEXT)))


def command(connection: psycopg.Connection[Any], sql: str) -> None:
    """The command was carried out, in a transaction. Raises psycopg.Error."""
    begin(connection)
    _checked(connection.pgconn.exec_(sql.encode()))


def begin(connection: psycopg.Connection[Any]) -> None:
    """The connection is in a transaction, as isolated as it is set to make them. Raises psycopg.Error."""
    pgconn = connection.pgconn
    if connection.autocommit or pgconn.transaction_status != pq.TransactionStatus.IDLE:
        return
    level, read_only = connection.isolation_level, connection.read_only
    words = [b"BEGIN"]
    if level is not None:
        words.append(b"ISOLATION LEVEL " + level.name.replace("_", " ").encode())
    if read_only is not None:
        words.append(b"READ ONLY" if read_only else b"READ WRITE")
    _checked(pgconn.exec_(b" ".join(words)))


class Line:
    """An asynchronous connection, asked by one task at a time. A task that is cancelled leaves it unusable."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._socket = self._pgconn.socket
        self._waiting: asyncio.Future[pq.abc.PGresult] | None = None
        self._loop.add_reader(self._socket, self._arrived)

    async def run(self, sql: str, values: Sequence[Any]) -> Fetched:
        """The statement's result. Raises psycopg.Error."""
        known = _known(self._connection)
        name = known.get(sql)
        if name is None:
            name = _name(known)
            self._pgconn.send_prepare(name, sql.encode())
            _checked(await self._result())
            known[sql] = name
        self._pgconn.send_query_prepared(name, _texts(values), result_format=_TEXT)
        return _fetched(self._connection, _checked(await self._result()))

    def close(self) -> None:
        """Nothing is listened for any more; whoever made the connection closes it."""
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


def _name(known: dict[str, bytes]) -> bytes:
    return b"gymkhana_%d" % len(known)


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
    changed = result.command_tuples or 0
    if result.status != pq.ExecStatus.TUPLES_OK:
        return [], (), changed
    names = tuple((result.fname(column) or b"").decode() for column in range(result.nfields))
    loading = Transformer(connection)
    loading.set_pgresult(result)
    return loading.load_rows(0, result.ntuples, tuple), names, changed
