"""The edge of every request: ids, sizes, drains, and the last resort."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from system.admission import Door
from system.edge import App, Edge, Receive, Scope, Send


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def unauthorised(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 401, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("planted")


Headers = list[tuple[bytes, bytes]]


class Call:
    """One request through an edge, and what came back."""

    def __init__(self, edge: Edge, body: bytes = b"", headers: Headers | None = None) -> None:
        self.edge = edge
        self.scope: Scope = {"type": "http", "method": "GET", "path": "/x", "headers": headers or []}
        self.body = body
        self.sent: list[MutableMapping[str, Any]] = []

    async def run(self) -> Call:
        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": self.body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            self.sent.append(message)

        await self.edge(self.scope, receive, send)
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def problem(self) -> dict[str, Any]:
        problem: dict[str, Any] = json.loads(self.sent[1]["body"])
        return problem


def call(app: App, body: bytes = b"", headers: Headers | None = None) -> Call:
    async def run() -> Call:
        return await Call(Edge(app, 1024, Door(8)), body, headers).run()

    return asyncio.run(run())


def test_a_request_id_is_made_and_returned() -> None:
    assert len(call(hello).headers[b"request-id"]) == 16


def test_the_clients_request_id_is_kept() -> None:
    assert call(hello, headers=[(b"request-id", b"mine-1")]).headers[b"request-id"] == b"mine-1"


@pytest.mark.parametrize("bad", [b"", b"x" * 121, b"\xff\xfe", b"a\x00b"])
def test_a_request_id_that_is_none_is_replaced(bad: bytes) -> None:
    assert call(hello, headers=[(b"request-id", bad)]).headers[b"request-id"] != bad


def test_a_declared_body_over_the_limit_is_refused_unread() -> None:
    got = call(hello, headers=[(b"content-length", b"1025")])
    assert got.status == 413
    assert json.loads(got.sent[1]["body"])["code"] == "body-too-large"


def test_an_undeclared_body_over_the_limit_is_refused_too() -> None:
    assert call(hello, body=b"x" * 1025).status == 413


def test_what_nobody_expected_is_a_500_and_not_the_end() -> None:
    got = call(broken)
    assert got.status == 500
    assert b"planted" not in got.sent[1]["body"]


def test_draining_answers_what_was_accepted_and_refuses_what_comes_later() -> None:
    async def story() -> tuple[Call, Call, bool]:
        go = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            await hello(scope, receive, send)

        edge = Edge(slow, 1024, Door(8))
        early = Call(edge)
        running = asyncio.create_task(early.run())
        await asyncio.sleep(0)
        draining = asyncio.create_task(edge.drain(5.0))
        await asyncio.sleep(0)
        late = await Call(edge).run()
        go.set()
        await running
        return early, late, await draining

    early, late, drained = asyncio.run(story())
    assert (early.status, late.status, drained) == (200, 503, True)
    assert late.headers[b"outcome"] == b"not-applied"


def test_a_drain_that_cannot_finish_says_so() -> None:
    async def story() -> bool:
        async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.Event().wait()

        edge = Edge(stuck, 1024, Door(8))
        running = asyncio.create_task(Call(edge).run())
        await asyncio.sleep(0)
        drained = await edge.drain(0.01)
        running.cancel()
        return drained

    assert asyncio.run(story()) is False


def test_one_request_too_many_is_refused_at_the_door_and_health_is_not() -> None:
    async def story() -> tuple[int, bytes, int]:
        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/x":
                await asyncio.Event().wait()
            await hello(scope, receive, send)

        edge = Edge(slow, 1024, Door(4))
        inside = [asyncio.create_task(Call(edge).run()) for _ in range(2)]
        await asyncio.sleep(0)
        late = await Call(edge).run()
        health = Call(edge)
        health.scope["path"] = "/health/live"
        await health.run()
        for task in inside:
            task.cancel()
        return late.status, late.headers[b"outcome"], health.status

    assert asyncio.run(story()) == (503, b"not-applied", 200)
