"""The outermost layer of every request: its id, its size, its time, its log line, and the drain.

A raw ASGI layer, because it is crossed by every request: request id, body limit, metrics, and the last resort when a
handler raises what nobody expected.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog

from system import metrics
from system.errors import TooLarge, Unavailable
from system.metrics import LANE_SHED
from system.problems import problem_bytes

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ALWAYS = ("/health/", "/metrics")
"""Paths answered however full the service is: whoever asks how it is must be told."""

SHED = LANE_SHED.labels("edge", "all", "service-full")

log = structlog.get_logger()


class Edge:
    """Wraps an ASGI application. `drain()` refuses what comes after it and waits for what came before.

    At most `places` requests are inside at once; one more is refused here, where a refusal costs next to nothing. After an
    outage everybody comes back at the same moment, and a service that queues them all answers none of them in time.
    """

    def __init__(self, app: App, body_limit_bytes: int, places: int) -> None:
        self._app = app
        self._places = places
        self._body_limit_bytes = body_limit_bytes
        self._draining = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def drain(self, timeout_s: float) -> bool:
        """Refuses every later request; True when all earlier ones were answered within `timeout_s`."""
        self._draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._under_way += 1
        self._idle.clear()
        try:
            await self._answer(scope, receive, send)
        finally:
            self._under_way -= 1
            if self._under_way == 0:
                self._idle.set()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"request-id", request_id.encode())]
            await send(message)

        try:
            if self._draining:
                late = Unavailable("draining", "The service is shutting down.")
                await _send_problem(sending, *problem_bytes(late, request_id), closing=True)
            elif self._under_way > self._places and not scope["path"].startswith(ALWAYS):
                SHED.inc()
                busy = Unavailable("service-full", "The service is at its limit.")
                await _send_problem(sending, *problem_bytes(busy, request_id))
            elif (size := _content_length(scope)) is not None and size > self._body_limit_bytes:
                await _send_problem(
                    sending, *problem_bytes(_too_large(self._body_limit_bytes), request_id), closing=True
                )
            else:
                await self._app(scope, _bounded(receive, self._body_limit_bytes), sending)
        except TooLarge as error:
            if status == 0:
                await _send_problem(sending, *problem_bytes(error, request_id), closing=True)
        except Exception as error:  # the request's outermost line: it answers 500, the process lives on
            log.error("request failed", request_id=request_id, path=scope["path"], error=repr(error), exc_info=error)
            if status == 0:
                await _send_problem(sending, *problem_bytes(error, request_id))
        finally:
            route = _route(scope)
            metrics.requests(scope["method"], route, status).inc()
            metrics.request_seconds(route).observe(time.perf_counter() - began)
            if status >= 500:
                log.warning(
                    "request refused", request_id=request_id, method=scope["method"], route=route, status=status
                )


def _bounded(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def receiving() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return receiving


def _too_large(limit: int) -> TooLarge:
    return TooLarge("body-too-large", f"The body is larger than {limit} bytes.")


async def _send_problem(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, closing: bool = False
) -> None:
    ending = [(b"connection", b"close")] if closing else []
    await send({"type": "http.response.start", "status": status, "headers": headers + ending})
    await send({"type": "http.response.body", "body": body})


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"request-id" and 0 < len(value) <= 120 and value.isascii() and value.decode().isprintable():
            return str(value.decode())
    return secrets.token_hex(8)


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


def _route(scope: Scope) -> str:
    """The route's template, never the path: an id in a label would make a new series of every request."""
    route = scope.get("route")
    return str(getattr(route, "path", "unmatched"))
