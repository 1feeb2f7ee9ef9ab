"""The front before versions that change: clients keep their connections, and no request is cut off by a switch."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ci.front import Front, _Client
from ci.loopback import HOST, free_ports

pytestmark = pytest.mark.processes

Clients = Callable[[int], list[http.client.HTTPConnection]]


class Version:
    """An HTTP server that answers with its name and what it was sent; `/slow` is answered once `let_go` is set."""

    def __init__(self, name: str) -> None:
        version = self
        self.asked, self.let_go = threading.Event(), threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == "/slow":
                    version.asked.set()
                    version.let_go.wait(10)
                body = name.encode() + b" " + sent
                self.send_response(200)
                if self.path == "/chunked":
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
                    return
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextmanager
def version(name: str) -> Iterator[Version]:
    made = Version(name)
    try:
        yield made
    finally:
        made.let_go.set()
        made.server.shutdown()
        made.server.server_close()


@pytest.fixture
def versions() -> Iterator[tuple[Version, Version]]:
    with version("old") as old, version("new") as new:
        yield old, new


@pytest.fixture
def port(versions: tuple[Version, Version]) -> Iterator[tuple[int, Front]]:
    (number,) = free_ports(1)
    front = Front(number, versions[0].port)
    yield number, front
    front.close()


@pytest.fixture
def clients(port: tuple[int, Front]) -> Iterator[Clients]:
    """As many clients of the front as are asked for."""
    made: list[http.client.HTTPConnection] = []

    def some(count: int) -> list[http.client.HTTPConnection]:
        made.extend(http.client.HTTPConnection(HOST, port[0], timeout=20) for _ in range(count))
        return made[-count:]

    yield some
    for client in made:
        client.close()


def ask(client: http.client.HTTPConnection, path: str = "/", body: str = "") -> str:
    client.request("POST", path, body)
    return client.getresponse().read().decode()


def test_a_client_keeps_its_connection_over_a_switch(
    versions: tuple[Version, Version], port: tuple[int, Front], clients: Clients
) -> None:
    _, front = port
    (client,) = clients(1)
    assert [ask(client, "/", "a"), ask(client, "/chunked", "b")] == ["old a", "old b"]
    kept = client.sock
    front.switch(versions[1].port)
    assert [ask(client, "/", "c"), ask(client, "/chunked", "d")] == ["new c", "new d"]
    assert client.sock is kept


def test_what_is_under_way_is_answered_by_the_version_that_was_asked(
    versions: tuple[Version, Version], port: tuple[int, Front], clients: Clients
) -> None:
    _, front = port
    old, new = versions
    slow, quick = clients(2)
    said: list[str] = []
    asking = threading.Thread(target=lambda: said.append(ask(slow, "/slow", "a")))
    asking.start()
    assert old.asked.wait(10)
    switching = threading.Thread(target=front.switch, args=(new.port,))
    switching.start()
    while ask(quick) == "old ":  # until the switch has come to the new version; the old one is still asked something
        pass
    assert switching.is_alive()
    old.let_go.set()
    switching.join(10)
    asking.join(10)
    assert (said, ask(slow)) == (["old a"], "new ")


def test_a_version_that_is_gone_is_seen_by_the_client(port: tuple[int, Front], clients: Clients) -> None:
    _, front = port
    (nobody,) = free_ports(1)
    front.behind = nobody
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(clients(1)[0])


def connections(old: Version, leaves: bool) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """What two got who wanted a connection for a client at once; the client has left since, or meanwhile."""

    async def story() -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        client = _Client(*await asyncio.open_connection(HOST, old.port))
        wanted = asyncio.gather(client.prepare(old.port), client.prepare(old.port))
        if leaves:
            await asyncio.sleep(0)
            client.close()
        made = await wanted
        client.close()
        return list(made)

    return asyncio.run(story())


def test_two_who_want_a_connection_at_once_get_the_same() -> None:
    with version("old") as old:
        one, other = connections(old, leaves=False)
    assert one is other
    assert one[1].is_closing()


def test_no_connection_outlives_its_client() -> None:
    with version("old") as old:
        assert all(writer.is_closing() for _, writer in connections(old, leaves=True))
