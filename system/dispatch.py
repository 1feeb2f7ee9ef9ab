"""The short way from a request to its handler: a path, a method, typed parameters, and nothing in between.

FastAPI describes the platform's routes, and serves whatever this does not know: unknown paths and methods, and its pages.
Finding a route among its routers, and solving dependencies that the platform does not use, takes as long as the
handlers themselves do. Handlers and their parameters are read from the same routers, so there is one list of routes.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from system.edge import App, Receive, Scope, Send
from system.errors import Invalid, ServiceError, TooLarge
from system.problems import problem_bytes

_EMPTY = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One parameter of a handler, out of the path or the query; `asked` is what clients call it."""

    name: str
    asked: str
    parse: Callable[[Any], Any]
    default: Any

    def value(self, given: str | None) -> Any:
        """Raises Invalid when what was given does not fit."""
        if given is None:
            if self.default is _EMPTY:
                raise Invalid("parameter-invalid", f"The parameter {self.asked}: Field required.")
            return self.default
        try:
            return self.parse(given)
        except ValidationError as error:
            raise Invalid("parameter-invalid", f"The parameter {self.asked}: {error.errors()[0]['msg']}.") from error


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """A route as it is called."""

    route: APIRoute
    handler: Callable[..., Awaitable[Response]]
    of_path: tuple[_Parameter, ...]
    of_query: tuple[_Parameter, ...]

    def arguments(self, parts: list[str], query: bytes) -> dict[str, Any]:
        """What the handler is called with besides the request. Raises Invalid."""
        found = {one.name: one.value(part) for one, part in zip(self.of_path, parts, strict=True)}
        if self.of_query:
            given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}
            for one in self.of_query:
                found[one.name] = one.value(given.get(one.asked))
        return found


@dataclass(slots=True)
class _Node:
    """A place in the tree of paths: what may come next, literally or as a parameter, and what may be asked here."""

    literal: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    methods: dict[str, _Endpoint] = field(default_factory=dict)


class Dispatch:
    """An ASGI application that answers the routers' routes itself and hands everything else to `rest`."""

    def __init__(self, routers: Iterable[APIRouter], rest: App) -> None:
        self._rest = rest
        self._root = _Node()
        self._routes: set[tuple[str, str]] = set()
        for router in routers:
            for route in router.routes:
                if isinstance(route, APIRoute):
                    self._add(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._rest(scope, receive, send)
            return
        endpoint, parts = found
        scope["app"] = self._rest
        scope["route"] = endpoint.route
        try:
            arguments = endpoint.arguments(parts, scope["query_string"])
            response = await endpoint.handler(Request(scope, receive), **arguments)
        except TooLarge:  # The edge's own, which ends the connection too.
            raise
        except ServiceError as error:
            scope["state"]["error"] = error
            status, headers, body = problem_bytes(error, scope["state"]["request_id"])
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        if isinstance(response, StreamingResponse):
            await response(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": response.body})

    def routes(self) -> frozenset[tuple[str, str]]:
        """Method and path of everything that goes this way."""
        return frozenset(self._routes)

    def _add(self, route: APIRoute) -> None:
        node, names = self._root, []
        for part in route.path.strip("/").split("/"):
            if part.startswith("{"):
                names.append(part.strip("{}"))
                node.parameter = node = node.parameter or _Node()
            else:
                node = node.literal.setdefault(part, _Node())
        endpoint = _endpoint(route, names)
        for method in route.methods or ():
            node.methods.setdefault(method, endpoint)
            self._routes.add((method, route.path))

    def _find(self, scope: Scope) -> tuple[_Endpoint, list[str]] | None:
        node, parts = self._root, []
        for part in scope["path"][1:].split("/"):
            if (literal := node.literal.get(part)) is not None:
                node = literal
            elif node.parameter is not None and part:
                node = node.parameter
                parts.append(part)
            else:
                return None
        endpoint = node.methods.get(scope["method"])
        return None if endpoint is None else (endpoint, parts)


def _endpoint(route: APIRoute, names: list[str]) -> _Endpoint:
    known = dict(inspect.signature(route.endpoint, eval_str=True).parameters)
    known.pop("request", None)
    parameters = {
        name: _Parameter(name, _asked(one), TypeAdapter(one.annotation).validate_python, one.default)
        for name, one in known.items()
    }
    return _Endpoint(
        route=route,
        handler=route.endpoint,
        of_path=tuple(parameters.pop(name) for name in names),
        of_query=tuple(parameters.values()),
    )


def _asked(parameter: inspect.Parameter) -> str:
    """The parameter's own name, or the alias of one whose name is a word of the language."""
    aliases = (getattr(one, "alias", None) for one in getattr(parameter.annotation, "__metadata__", ()))
    return next((alias for alias in aliases if alias), parameter.name)
