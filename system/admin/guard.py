"""The one way to a handler of the admin part: its rule is declared with it, and nobody gets past the rule.

    routes = Routes()

    @routes.get("/admin/matches", least=Role.VIEWER, scope="read:boards", board="Matches")
    async def matches(request: Request) -> Response: ...

A module's `routes` are named in `room.py`. Whatever else lies below `/admin` keeps the service from starting.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from system import http
from system.admin import keys, pages, presence_jobs, session_service, token_service
from system.admin.access import NOBODY, Decision, Machine, Principal, Role, Rule, decide
from system.admin.actions import operation
from system.admin.desk import desk_of, origin
from system.admin.forgery import forged
from system.errors import Forbidden, ServiceError, TooLarge, Unauthorised
from system.jobs import Job

Handler = Callable[..., Awaitable[Response]]

LOG_IN = "/admin/log-in"


class Routes:
    """Routes of one module, each with its rule."""

    def __init__(self) -> None:
        self.router = APIRouter(include_in_schema=False, tags=["admin"])
        self.rules: list[Rule] = []

    def get(self, path: str, *, least: Role, scope: str | None = None, board: str = "") -> Callable[[Handler], Handler]:
        """Registers a page, or what a machine reads."""
        return self._register(Rule("GET", path, least, scope, board=board))

    def post(self, path: str, *, least: Role, scope: str | None = None) -> Callable[[Handler], Handler]:
        """Registers what changes something."""
        return self._register(Rule("POST", path, least, scope))

    def open(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """Registers what anybody may ask."""
        return self._register(Rule(method, path, open=True))

    def _register(self, rule: Rule) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            guarded = _guarded(rule, handler)
            self.router.add_api_route(rule.path, guarded, methods=[rule.method], response_model=None)
            self.rules.append(rule)
            return guarded

        return register


def rule_of(endpoint: Any) -> Rule | None:
    """The rule that guards the handler, None when nothing does."""
    found: Rule | None = getattr(endpoint, "rule", None)
    return found


def _guarded(rule: Rule, handler: Handler) -> Handler:
    @functools.wraps(handler)
    async def guarded(request: Request, **arguments: Any) -> Response:
        try:
            if forged(request.method, request.headers):
                raise Forbidden("cross-site", "This was not sent from a page of this service, so nothing was done.")
            principal = NOBODY if rule.open else await _identify(request)
            decision = decide(principal, rule)
            if decision is Decision.LOG_IN:
                return _to_log_in(request)
            request.state.principal = principal
            if decision is Decision.FORBIDDEN:
                raise Forbidden("not-allowed", _not_allowed(rule, principal))
            return await handler(request, **arguments)
        except TooLarge:  # The edge's own, which ends the connection too.
            raise
        except ServiceError as error:
            if not pages.wanted(request):
                raise
            return pages.trouble(request, error)

    guarded.rule = rule  # type: ignore[attr-defined]
    return guarded


async def _identify(request: Request) -> Principal:
    """Who asks, by what is in force at this very moment: nothing is remembered from one request to the next."""
    lanes, now = http.lanes(request), http.now_ms()
    token = keys.token_in(request.headers.get("authorization"))
    if token is not None:
        bearer = await lanes.read("admin", token_service.bearer, keys.hashed(token), now)
        if bearer is None:
            return NOBODY
        machine, used_ms = bearer
        await _present(request, presence_jobs.token_used, machine.token_id, used_ms or 0)
        return machine
    session = keys.session_in(request.cookies, secure=origin(request).secure)
    if session is None:
        return NOBODY
    held = await lanes.read("admin", session_service.holder, keys.hashed(session), now, desk_of(request).idle_ms)
    if held is None:
        return NOBODY
    person, seen_ms = held
    await _present(request, presence_jobs.session_seen, person.session_id, seen_ms)
    return person


async def _present(request: Request, job: Job, subject: int, last_ms: int) -> None:
    """Writes down once a minute that somebody is there. Where nothing can be written, reading goes on."""
    lanes, now = http.lanes(request), http.now_ms()
    if now - last_ms >= presence_jobs.EVERY_MS and not lanes.modes.read_only:
        with contextlib.suppress(ServiceError):
            await lanes.write(job, subject, operation=operation(now))


def _to_log_in(request: Request) -> Response:
    if not pages.wanted(request):
        raise Unauthorised(
            "log-in-required", "Send an API token that is in force as `Authorization: Bearer gymadm_...`."
        )
    if request.method != "GET":
        return RedirectResponse(LOG_IN, 303)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.headers.get("sec-fetch-site") == "cross-site":
        # The browser holds a strict cookie back from whoever follows a link elsewhere; asking again from here brings it.
        return pages.render(request, "arrival.html", here=here)
    return RedirectResponse(f"{LOG_IN}?next={quote(here, safe='/')}", 303)


def _not_allowed(rule: Rule, principal: Principal) -> str:
    if isinstance(principal, Machine):
        return (
            f"This takes a token with the scope {rule.scope}." if rule.scope else "This is for people, not for tokens."
        )
    return f"This takes the role {rule.least}."
