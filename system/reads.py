"""Where reads run: in the HTTP process on its own connection for SQLite, on a few asynchronous ones for PostgreSQL.

A read of SQLite takes less time than handing it to anyone; one of PostgreSQL waits for a network and must not hold up
those that wait for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pysqlite3.dbapi2 as sqlite
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import greenlet_spawn

from system import sqlstate, watch
from system.errors import ServiceError
from system.statements import AsyncDriverReader, DriverReader, Reader, statements_for

R = TypeVar("R")

LONG_READS = 2
"""Threads for long reads."""
LONG_READ_MS = 60_000
"""Longest statement of a long read on PostgreSQL."""


class ReadTooLong(Exception):
    """The read did not end before its deadline."""


class ReadFailed(Exception):
    """The database could not be read. `fatal` is a sentence when it cannot be trusted any more."""

    def __init__(self, cause: BaseException, fatal: str = "") -> None:
        super().__init__(str(cause))
        self.fatal = fatal


class Reads(Protocol):
    """A place where reads run, each in a transaction that is rolled back. Raises ReadTooLong or ReadFailed."""

    async def read(self, deadline: float, function: Callable[[Reader], R]) -> R:
        """What the function returns. `deadline` is on the monotonic clock."""

    async def long_read(self, function: Callable[[Connection], R]) -> R:
        """The same without a deadline of the caller's, out of the way of the short ones."""

    def trouble(self) -> str:
        """Why the database must not be touched any more, empty while nothing is known against it. Costs next to nothing."""

    def damage(self, connection: Connection) -> str:
        """What the engine's own quick check finds wrong, empty when nothing is."""

    def deadlocks(self, connection: Connection) -> int:
        """How many deadlocks the engine has counted so far."""

    async def close(self) -> None:
        """Lets go of the connections and threads."""


class SqliteReads:
    """Reads of a SQLite file, in the calling thread, on one connection; long ones in two threads."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._identity = watch.FileIdentity.of(path)
        self._long = ThreadPoolExecutor(max_workers=LONG_READS, thread_name_prefix="long-read")
        self._connection: Connection | None = None
        self._raw: Any = None
        self._reader: Reader | None = None
        self._end = float("inf")

    async def read(self, deadline: float, function: Callable[[Reader], R]) -> R:
        try:
            reader = self._reader or self._open()
            self._end = deadline
            self._raw.execute("BEGIN")
            try:
                return function(reader)
            finally:
                self._raw.rollback()
        except DBAPIError as error:
            self._drop()
            raise self._failure(error) from error
        except sqlite.Error as error:
            self._drop()
            told = statements_for(self._engine.dialect).told(error, "BEGIN", None)
            assert isinstance(told, DBAPIError)
            raise self._failure(told) from error

    async def long_read(self, function: Callable[[Connection], R]) -> R:
        def run() -> R:
            with self._engine.connect() as connection:
                return function(connection)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._long, run)
        except DBAPIError as error:
            raise self._failure(error) from error

    def trouble(self) -> str:
        return self._identity.trouble()

    def damage(self, connection: Connection) -> str:
        first = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        return "" if first == "ok" else " ".join(str(first).split())

    def deadlocks(self, _connection: Connection) -> int:
        """There is one writer, so there are none."""
        return 0

    async def close(self) -> None:
        self._long.shutdown(wait=True)
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()

    def _open(self) -> Reader:
        self._connection = self._engine.connect()
        self._raw = self._connection.connection.driver_connection
        self._raw.set_progress_handler(lambda: time.monotonic() > self._end, 50_000)
        self._reader = DriverReader(self._raw, statements_for(self._engine.dialect))
        return self._reader

    def _drop(self) -> None:
        self._reader = self._raw = None
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _failure(self, error: DBAPIError) -> Exception:
        wrong = watch.fatal(error)
        if watch.interrupted(error):
            return ReadTooLong()
        return ReadFailed(error, f"The database file {self._identity.path} {wrong}." if wrong else "")


class PostgresReads:
    """Reads of a PostgreSQL database on a few connections that the event loop keeps; long ones in threads of their own.

    A read waits for the server most of its time, and a thread for each would spend more on taking turns than on reading.
    A connection that turns out to be lost is replaced, and the read runs again, as often as its deadline allows.
    """

    def __init__(self, short: AsyncEngine, sessions: int, long: Engine) -> None:
        self._short = short
        self._kept: asyncio.LifoQueue[_Kept | None] = asyncio.LifoQueue()
        for _ in range(sessions):
            self._kept.put_nowait(None)
        self._long = long
        self._threads = ThreadPoolExecutor(max_workers=LONG_READS, thread_name_prefix="long-read")

    async def read(self, deadline: float, function: Callable[[Reader], R]) -> R:
        with _told_apart():
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    return await self._again_until(deadline, function)
            except TimeoutError as error:
                raise ReadTooLong() from error

    async def long_read(self, function: Callable[[Connection], R]) -> R:
        def run() -> R:
            with self._long.connect() as connection:
                return function(connection)

        with _told_apart():
            return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def trouble(self) -> str:
        return ""

    def damage(self, connection: Connection) -> str:
        """Pages whose checksums failed, as the server counted them since its statistics began."""
        failed = connection.exec_driver_sql(
            "SELECT coalesce(checksum_failures, 0) FROM pg_stat_database WHERE datname = current_database()"
        ).scalar_one()
        return f"{failed} pages have failed their checksums" if failed else ""

    def deadlocks(self, connection: Connection) -> int:
        """As the server counted them in this database since its statistics began, whoever met them."""
        counted = connection.exec_driver_sql(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).scalar_one()
        return int(counted)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._long.dispose()
        while not self._kept.empty():
            if (connection := self._kept.get_nowait()) is not None:
                connection.reader.close()
                await connection.connection.close()
        await self._short.dispose()

    async def _again_until(self, deadline: float, function: Callable[[Reader], R]) -> R:
        pause_s = 0.005
        while True:
            try:
                return await self._once(function)
            except DBAPIError as error:
                passing = sqlstate.lost(error) or sqlstate.rolled_back(error)
                if not passing or time.monotonic() + pause_s > deadline:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.25)

    async def _once(self, function: Callable[[Reader], R]) -> R:
        """On one of the kept connections. One on which anything went wrong is let go, and made again when it is wanted."""
        kept = await self._kept.get()
        connection, kept = kept, None
        try:
            if connection is None:
                connection = await self._open()
            result: R = await greenlet_spawn(function, connection.reader)
            kept = connection
            return result
        except ServiceError:
            kept = connection
            raise
        finally:
            self._kept.put_nowait(kept)
            if kept is None and connection is not None:
                await connection.let_go()

    async def _open(self) -> _Kept:
        connection = await self._short.connect()
        raw = await connection.get_raw_connection()
        return _Kept(connection, AsyncDriverReader(raw.driver_connection, statements_for(self._short.dialect)))


@dataclass(frozen=True, slots=True)
class _Kept:
    """A connection that is kept, and what reads on it."""

    connection: AsyncConnection
    reader: AsyncDriverReader

    async def let_go(self) -> None:
        """It is closed, whatever state it is in."""
        self.reader.close()
        with contextlib.suppress(SQLAlchemyError):
            await self.connection.invalidate()
            await self.connection.close()


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """Raises what the server or the pool says as ReadTooLong or ReadFailed."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if sqlstate.timed_out(error):
            raise ReadTooLong() from error
        wrong = sqlstate.fatal(error)
        raise ReadFailed(error, f"The database {wrong}." if wrong else "") from error
