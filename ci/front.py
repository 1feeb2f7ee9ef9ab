"""What stands before the service while its versions change: one address for clients, whichever version answers.

    client ══ front ══ old version            each client keeps its connection; behind it is one to a version, so that the
              front ══ new version            versions' own gauges count clients

A request goes to the version that is current when it arrives, and its answer comes from there. So a switch cuts nobody off:
the connections to the new version are made first, then it becomes current, and the old one is idle once it has answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from concurrent.futures import Future
from typing import Any

import uvloop

from ci.loopback import HOST

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LINGER_S = 10.0
BACKLOG = 4096


class StillBusy(Exception):
    """The version that was left did not answer everything in time."""


class Front:
    """Listens on `port` and hands requests to `behind`, in a thread of its own, until `close`."""

    def __init__(self, port: int, behind: int) -> None:
        self.behind = behind
        """The port of the version that is current."""
        self._under_way: Counter[int] = Counter()
        self._clients: set[_Client] = set()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="front", daemon=True)
        self._thread.start()
        self._listening = self._ask(asyncio.start_server(self._serve, HOST, port, backlog=BACKLOG))

    def switch(self, port: int) -> None:
        """The version at `port` is current, and the one before has answered all it was asked. Raises StillBusy."""
        self._ask(self._switch(port))

    def close(self) -> None:
        """Nothing listens any more, and every client is let go."""
        if self._thread.is_alive():
            self._ask(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(LINGER_S)

    def _ask(self, what: Any) -> Any:
        asked: Future[Any] = asyncio.run_coroutine_threadsafe(what, self._loop)
        return asked.result(LINGER_S * 3)

    async def _switch(self, port: int) -> None:
        left, clients = self.behind, list(self._clients)
        for client in clients:
            await client.prepare(port)
        self.behind = port
        for client in clients:
            client.leave(left)
        try:
            async with asyncio.timeout(LINGER_S):
                while self._under_way[left]:
                    await asyncio.sleep(0.005)
        except TimeoutError as error:
            raise StillBusy(
                f"The version on port {left} has {self._under_way[left]} requests left to answer."
            ) from error

    async def _close(self) -> None:
        self._listening.close()
        for client in list(self._clients):
            client.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(reader, writer)
        self._clients.add(client)
        try:
            while True:
                request = await _message(reader)
                port = self.behind
                self._under_way[port] += 1
                client.asking = port
                try:
                    writer.write(await client.ask(port, request))
                    await writer.drain()
                finally:
                    self._under_way[port] -= 1
                    client.asking = None
                    if port != self.behind:
                        client.leave(port)
        except (asyncio.IncompleteReadError, OSError):
            pass  # The client has gone, or the version behind has: then the client is to see just that.
        finally:
            self._clients.discard(client)
            client.close()


class _Client:
    """A client's connection, and those that were made for it to the versions behind."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._behind: dict[int, Stream] = {}
        self._making = asyncio.Lock()
        self._closed = False
        self.asking: int | None = None

    async def prepare(self, port: int) -> Stream:
        """The connection to that version, made when there is none; whoever else wants one meanwhile gets the same."""
        async with self._making:
            known = self._behind.get(port)
            if known is None or known[0].at_eof():
                if known is not None:
                    known[1].close()
                known = self._behind[port] = await asyncio.open_connection(HOST, port)
            if self._closed:  # The client went while it was made.
                known[1].close()
        return known

    async def ask(self, port: int, request: bytes) -> bytes:
        """That version's answer. Raises what a client would be told by a connection of its own: that it is gone."""
        reader, writer = await self.prepare(port)
        writer.write(request)
        return await _message(reader)

    def leave(self, port: int) -> None:
        """The connection to that version is closed, unless an answer is still to come from it."""
        if self.asking != port and (stream := self._behind.pop(port, None)):
            stream[1].close()

    def close(self) -> None:
        """Both sides are let go."""
        self._closed = True
        for _, writer in [(self._reader, self._writer), *self._behind.values()]:
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP/1.1 message, byte for byte. Its length is told beforehand, as both sides here always do."""
    head: bytes = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return head + await reader.readexactly(int(value))
        if name.lower() == b"transfer-encoding":
            return head + await _chunks(reader)
    return head


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        body += size + await reader.readexactly(int(size, 16) + 2)
        if int(size, 16) == 0:
            return body
