"""The outermost layer of every request: its id, its size, its time, its log line, the drain, and whether it comes in.

A raw ASGI layer, because it is crossed by every request: request id, body limit, metrics, and the last resort when a
handler raises what nobody expected. Who comes in is decided by others, in this order: what this client has left
(`rates.py`), what the service does without just now (`modes.py`), and whether there is room (`admission.py`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog

from system import metrics
from system.admin.headers import dressed, of_admin
from system.admission import Door, Lane
from system.errors import RateLimited, ServiceError, TooLarge, Unavailable
from system.metrics import LANE_SHED
from system.modes import Modes
from system.problems import problem_bytes
from system.rates import Rates, by_address, client_of
from system.reporting.recorder import Recorder

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG_IN, LOG_INS = "/admin/log-in", "admin-log-ins"
"""The admin part's log-in, and the domain that it is by itself."""
LIVE = "/admin/live"
"""Where boards are watched: answers that go on for as long as somebody looks."""
ALWAYS = ("/health/", "/metrics")
"""Paths answered however full the service is: whoever asks how it is must be told."""
DOMAINS = ("users", "sessions", "tournaments", "matches", "challenges", "notifications", "operations", "admin", LOG_INS)
"""What a path can begin with; everything else is one domain together, or a client could make new ones at will."""
READS = ("GET", "HEAD", "OPTIONS")

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class Stay:
    """A stay inside the door. An answer that goes on for long leaves as it begins, and ends when `ending` is set."""

    door: Door
    lane: Lane
    domain: str
    ending: asyncio.Event
    left: float = 0.0

    def leave(self) -> None:
        """Its place is somebody else's, and what it took is known. Once is enough."""
        if not self.left:
            self.left = time.perf_counter()
            self.door.leave(self.lane, self.domain)


class Edge:
    """Wraps an ASGI application. `drain()` refuses what comes after it and waits for what came before.

    Without `rates` every client may ask as often as it likes; without `recorder` no request leaves a record.
    """

    def __init__(
        self,
        app: App,
        body_limit_bytes: int,
        door: Door,
        modes: Modes | None = None,
        rates: Rates | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._app = app
        self._door = door
        self._modes = modes
        self._rates = rates
        self._recorder = recorder
        self._body_limit_bytes = body_limit_bytes
        self._ending = asyncio.Event()
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def drain(self, timeout_s: float) -> bool:
        """Refuses every later request and ends every stream; True when all earlier ones were answered within `timeout_s`."""
        self._ending.set()
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
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 0
        more = [(b"request-id", request_id.encode())]

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *more]
                if of_admin(scope["path"]):
                    message["headers"] = dressed(message["headers"])
            await send(message)

        at_the_edge: ServiceError | None = None
        stay: Stay | None = None
        try:
            if self._ending.is_set():
                at_the_edge = late = Unavailable("draining", "The service is shutting down.")
                await _send_problem(sending, *problem_bytes(late, request_id), closing=True)
            elif (size := _content_length(scope)) is not None and size > self._body_limit_bytes:
                await _send_problem(
                    sending, *problem_bytes(_too_large(self._body_limit_bytes), request_id), closing=True
                )
            elif scope["path"].startswith(ALWAYS):
                await self._app(scope, _bounded(receive, self._body_limit_bytes), sending)
            else:
                lane, domain = where(scope["method"], scope["path"])
                try:
                    await self._come_in(scope, lane, domain, more)
                except (Unavailable, RateLimited) as error:
                    at_the_edge = error
                    await _send_problem(sending, *problem_bytes(error, request_id))
                    return
                stay = state["stay"] = Stay(self._door, lane, domain, self._ending)
                try:
                    await self._app(scope, _bounded(receive, self._body_limit_bytes), sending)
                finally:
                    stay.leave()
                    if status == 401 and self._rates is not None:
                        self._charge_the_address(scope, self._rates)
        except TooLarge as error:
            if status == 0:
                await _send_problem(sending, *problem_bytes(error, request_id), closing=True)
        except Exception as error:  # the request's outermost line: it answers 500, the process lives on
            state["error"] = error
            log.error("request failed", request_id=request_id, path=scope["path"], error=repr(error), exc_info=error)
            if status == 0:
                await _send_problem(sending, *problem_bytes(error, request_id))
        finally:
            route = _route(scope)
            took_s = (stay.left if stay else time.perf_counter()) - began
            metrics.requests(scope["method"], route, status).inc()
            metrics.request_seconds(route).observe(took_s)
            if self._recorder is not None and not scope["path"].startswith(ALWAYS):
                self._record(self._recorder, scope, status, took_s, at_the_edge)
            # Those at the edge are counted: a line for each would cost more than refusing.
            if status >= 500 and at_the_edge is None:
                log.warning(
                    "request refused", request_id=request_id, method=scope["method"], route=route, status=status
                )

    def _record(
        self, recorder: Recorder, scope: Scope, status: int, took_s: float, at_the_edge: ServiceError | None
    ) -> None:
        state = scope["state"]
        if at_the_edge is None:
            recorder.request(kind_of(scope), status, took_s, state["request_id"], state, state.get("error"))
        else:
            recorder.refused(where(scope["method"], scope["path"])[1], status, took_s, state["request_id"], at_the_edge)

    async def _come_in(self, scope: Scope, lane: Lane, domain: str, more: list[tuple[bytes, bytes]]) -> None:
        """Inside the door; raises Unavailable or RateLimited. What the client should know of its rate is in `more`."""
        if self._rates is not None:
            self._spend(scope, self._rates, more)
        if self._modes is not None:
            self._modes.check(domain, writes=lane == "write")
        await self._door.enter(lane, domain)

    def _spend(self, scope: Scope, rates: Rates, more: list[tuple[bytes, bytes]]) -> None:
        address = _address(scope)
        client = client_of(_header(scope, b"authorization"), address)
        try:
            if rates.standing(by_address(address)).remaining < 1:
                client = by_address(address)
            standing = rates.spend(client)
        except RateLimited:
            LANE_SHED.labels("edge", "all", "rate-limited").inc()
            more += rates.fields(rates.standing(client))
            raise
        more += rates.fields(standing)

    def _charge_the_address(self, scope: Scope, rates: Rates) -> None:
        address = by_address(_address(scope))
        if _header(scope, b"authorization") and rates.standing(address).remaining >= 1:
            rates.spend(address)


def where(method: str, path: str) -> tuple[Lane, str]:
    """Which lane a request is for, and which domain."""
    first = path[1:].partition("/")[0]
    if path == LOG_IN:  # Whoever tries a thousand passwords takes no place of somebody who is in already.
        first = LOG_INS
    return "read" if method in READS else "write", first if first in DOMAINS else "other"


def kind_of(scope: Scope) -> str:
    """The request's kind for the records: its route's domain and name, as `challenges.settle`; never of the path."""
    route = scope.get("route")
    if route is None:
        return "unmatched"
    kind = _kinds.get(id(route))
    if kind is None:
        tags = getattr(route, "tags", None) or ["unmatched"]
        kind = _kinds[id(route)] = f"{tags[0]}.{route.name}"[:60]
    return kind


_kinds: dict[int, str] = {}
"""Kept: routes are as old as the process."""


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


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((bytes(value) for name, value in scope["headers"] if name == wanted), b"")


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


def _route(scope: Scope) -> str:
    """The route's template, never the path: an id in a label would make a new series of every request."""
    route = scope.get("route")
    return str(getattr(route, "path", "unmatched"))
