"""The writer process: the one place that writes the database (`python -m system.writer`).

It listens on a Unix socket in the runtime directory. On SQLite it takes everything that has arrived, hands it to `Batches`
as one transaction, and answers: while a batch is being committed the next one gathers, so the slower the disk,
the larger the batch. On PostgreSQL each job goes to the first of a few `Sessions` that is free.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
from collections import deque
from collections.abc import Hashable
from pathlib import Path
from types import FrameType

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError, OperationalError

import system.job_modules  # noqa: F401  # registers every job
from system import processes
from system.batch import Batches
from system.database import Limits, engine_for, is_sqlite, shown, sqlite_path
from system.failpoints import Failpoints
from system.logs import configure_logs
from system.schema import SchemaTrouble, check_schema
from system.scrub import keep_secret
from system.sessions import Sessions
from system.settings import Settings, settings
from system.shipping import Shipping
from system.wire import Answer, Ask, Frames, ask, pack, socket_path

LOOK_INTERVAL_S = 0.2
_RECEIVE_BYTES = 256 * 1024

log = structlog.get_logger()


class _Client:
    """One connected HTTP process: its frames in, its answers out."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.frames = Frames()
        self.unsent = bytearray()


class _Door:
    """A listening socket and the clients that came through it: their jobs in `_waiting`, and what is sent to them."""

    def __init__(self, listener: socket.socket) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self._waiting: list[tuple[_Client, Ask]] = []
        self._stopping = False

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Asks `serve` to return once what has arrived is answered."""
        self._stopping = True

    def close(self) -> None:
        """Stops listening and lets every client go."""
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                self._drop(key.data)
        self._selector.close()
        self._listener.close()

    def _receive(self, timeout_s: float) -> None:
        for key, events in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                with contextlib.suppress(BlockingIOError):
                    connection, _ = self._listener.accept()
                    connection.setblocking(False)
                    self._selector.register(connection, selectors.EVENT_READ, _Client(connection))
                continue
            if key.data is None:
                self._woken()
                continue
            client: _Client = key.data
            if events & selectors.EVENT_WRITE:
                self._send(client)
            if events & selectors.EVENT_READ:
                self._read(client)

    def _woken(self) -> None:
        """Something besides the sockets wants to be looked at."""

    def _read(self, client: _Client) -> None:
        try:
            data = client.connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        self._waiting += [(client, ask(frame)) for frame in client.frames.feed(data)]

    def _send(self, client: _Client) -> None:
        try:
            sent = client.connection.send(client.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(client)
            return
        del client.unsent[:sent]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.unsent else 0)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.modify(client.connection, wanted, client)

    def _drop(self, client: _Client) -> None:
        with contextlib.suppress(KeyError, ValueError):  # It may have been dropped before.
            self._selector.unregister(client.connection)
        client.connection.close()


class Writer(_Door):
    """Serves jobs in batches until told to stop; everything received before that is answered."""

    def __init__(self, batches: Batches, listener: socket.socket, batch_jobs: int) -> None:
        super().__init__(listener)
        self.lane = self._batches = batches
        self._batch_jobs = batch_jobs

    def serve(self) -> None:
        """Runs until `stop`. Raises nothing that a client can cause."""
        while True:
            self._receive(0 if self._waiting else LOOK_INTERVAL_S)
            if self._waiting:
                batch, self._waiting = self._waiting[: self._batch_jobs], self._waiting[self._batch_jobs :]
                self._answer(batch, self.run(batch))
            else:
                self._batches.look()
                if self._stopping:
                    return

    def run(self, batch: list[tuple[_Client, Ask]]) -> list[Answer]:
        """The answers to one batch, after its commit. Numbers are made unique across clients for the while."""
        asks = [msgspec.structs.replace(one, number=place) for place, (_, one) in enumerate(batch)]
        return self._batches.run(asks)

    def _answer(self, batch: list[tuple[_Client, Ask]], answers: list[Answer]) -> None:
        for answer in answers:
            client, asked = batch[answer.number]
            client.unsent += pack(msgspec.structs.replace(answer, number=asked.number))
        for client in {id(client): client for client, _ in batch}.values():
            self._send(client)


class SessionWriter(_Door):
    """Serves jobs on several sessions at once until told to stop; everything received before that is answered."""

    def __init__(self, sessions: Sessions, listener: socket.socket) -> None:
        super().__init__(listener)
        self.lane = self._sessions = sessions
        self._under_way = 0
        self._answered: deque[tuple[_Client, Answer]] = deque()
        self._called = False
        self._wake, self._waking = socket.socketpair()
        for end in (self._wake, self._waking):
            end.setblocking(False)
        self._selector.register(self._waking, selectors.EVENT_READ)
        sessions.answered = self._take

    def serve(self) -> None:
        """Runs until `stop`. Raises nothing that a client can cause."""
        while not self._stopping or self._under_way or self._waiting:
            self._receive(LOOK_INTERVAL_S)
            waiting, self._waiting = self._waiting, []
            self._under_way += len(waiting)
            for client, one in waiting:
                self._sessions.submit(client, one)

    def close(self) -> None:
        super().close()
        for end in (self._wake, self._waking):
            end.close()

    def _take(self, client: Hashable, answer: Answer) -> None:
        """In a session's thread: the answer is sent by the thread that serves."""
        assert isinstance(client, _Client)
        self._answered.append((client, answer))
        if not self._called:
            self._called = True
            with contextlib.suppress(BlockingIOError):  # Full: it has been woken often enough.
                self._wake.send(b"!")

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._waking.recv(_RECEIVE_BYTES)
        self._called = False  # Before the answers are looked at: whoever comes after that calls again.
        clients = {}
        while self._answered:
            client, answer = self._answered.popleft()
            self._under_way -= 1
            client.unsent += pack(answer)
            clients[id(client)] = client
        for client in clients.values():
            self._send(client)


def listen(runtime: Path) -> socket.socket:
    """A listening socket at `socket_path`, readable by this user only. A stale one is replaced."""
    path = socket_path(runtime)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with processes.short_path(path) as short:
            listener.bind(short)
    finally:
        os.umask(mask)
    listener.listen(64)
    return listener


def open_writer(config: Settings) -> Writer | SessionWriter:
    """The database, checked and opened for writing. Raises SchemaTrouble with one sentence when it cannot serve."""
    check_schema(config.database_url)
    return open_lane(config)


def open_lane(config: Settings) -> Writer | SessionWriter:
    """The same, with whatever schema is there."""
    if is_sqlite(config.database_url):
        return Writer(open_batches(config), listen(config.runtime_directory()), config.batch_jobs)
    limits = Limits(
        connections=config.write_sessions,
        statement_ms=config.job_budget_ms,
        lock_ms=config.lock_timeout_ms,
        idle_in_transaction_ms=config.idle_timeout_ms,
    )
    engine = engine_for(config.database_url, writer=True, limits=limits)
    sessions = Sessions(engine, Failpoints(config.failpoints), config.write_sessions)
    return SessionWriter(sessions, listen(config.runtime_directory()))


def open_batches(config: Settings) -> Batches:
    """The SQLite database, opened for writing. Raises SchemaTrouble."""
    path = sqlite_path(config.database_url)
    engine = engine_for(config.database_url, writer=True, shipped=config.ship is not None)
    shipping = (
        Shipping(config.ship, config.ship_timeout_ms / 1000) if config.ship and config.ship_mode == "sync" else None
    )
    try:
        return Batches(engine, path, Failpoints(config.failpoints), config.job_budget_ms / 1000, shipping)
    except OperationalError as error:
        raise SchemaTrouble(f"The database {path} cannot be opened for writing: {error.orig}.") from error


def main() -> int:
    """Runs the writer as a child of the supervisor; 0 after a stop, 2 when the database cannot serve."""
    processes.end_with_parent()
    config = settings()
    configure_logs(config.log_level, process="writer")
    keep_secret(config.secrets())
    try:
        writer = open_writer(config)
    except (SchemaTrouble, DBAPIError) as error:
        processes.say(str(error))
        return 2
    signal.signal(signal.SIGTERM, writer.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides the order
    processes.settle_memory()
    log.info("writer ready", database=shown(config.database_url))
    writer.serve()
    writer.close()
    writer.lane.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
