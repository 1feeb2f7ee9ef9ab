"""The writer process: the one place that writes the SQLite database (`python -m system.writer`).

It listens on a Unix socket in the runtime directory, takes everything that has arrived, hands it to `Batches` as one
transaction, and answers. While a batch is being committed the next one gathers in the sockets: the slower the disk, the
larger the batch.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import msgspec
import structlog
from sqlalchemy.exc import DBAPIError, OperationalError

import system.job_modules  # noqa: F401  # registers every job
from system import processes
from system.batch import Batches
from system.database import engine_for, sqlite_path
from system.failpoints import Failpoints
from system.logs import configure_logs
from system.schema import SchemaTrouble, check_schema
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


class Writer:
    """Serves jobs until told to stop; everything received before that is answered."""

    def __init__(self, batches: Batches, listener: socket.socket, batch_jobs: int) -> None:
        self._batches = batches
        self._batch_jobs = batch_jobs
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self._waiting: list[tuple[_Client, Ask]] = []
        self._stopping = False

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Asks `serve` to return once what has arrived is answered."""
        self._stopping = True

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

    def close(self) -> None:
        """Stops listening and lets every client go."""
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                self._drop(key.data)
        self._selector.close()
        self._listener.close()

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

    def _receive(self, timeout_s: float) -> None:
        for key, events in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                with contextlib.suppress(BlockingIOError):
                    connection, _ = self._listener.accept()
                    connection.setblocking(False)
                    self._selector.register(connection, selectors.EVENT_READ, _Client(connection))
                continue
            client: _Client = key.data
            if events & selectors.EVENT_WRITE:
                self._send(client)
            if events & selectors.EVENT_READ:
                self._read(client)

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
        with contextlib.suppress(KeyError):
            self._selector.modify(client.connection, wanted, client)

    def _drop(self, client: _Client) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(client.connection)
        client.connection.close()


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


def open_batches(config: Settings) -> Batches:
    """The database, checked and opened for writing. Raises SchemaTrouble with one sentence when it cannot serve."""
    path = sqlite_path(config.database_url)
    check_schema(config.database_url)
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
    try:
        batches = open_batches(config)
    except (SchemaTrouble, DBAPIError) as error:
        processes.say(str(error))
        return 2
    writer = Writer(batches, listen(config.runtime_directory()), config.batch_jobs)
    signal.signal(signal.SIGTERM, writer.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides the order
    log.info("writer ready", database=config.database_url)
    writer.serve()
    writer.close()
    batches.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
