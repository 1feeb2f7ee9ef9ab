"""The one way to a handler of the admin part: its rule is declared with it, and nobody gets past the rule.

    routes = Routes()

    @routes.get("/admin/matches", least=Role.VIEWER, scope="read:boards", board="Matches")
    async def matches(request: Request) -> Response: ...

A module's `routes` are named in `room.py`. Whatever else lies below `/admin` keeps the service from starting.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from system import http
from system.admin import keys, pages, presence_jobs, session_service, token_service
from system.admin.access import NOBODY, Decision, Machine, Nobody, Person, Principal, Role, Rule, decide
from system.admin.actions import operation
from system.admin.desk import Desk, desk_of, origin
from system.admin.forgery import forged
from system.errors import Forbidden, ServiceError, TooLarge, Unauthorised, Unavailable
from system.lanes import Lanes

Handler = Callable[..., Awaitable[Response]]

LOG_IN = "/admin/log-in"
TOKEN, SESSION = "token", "session"
LOOK_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class Found:
    """Who was found, and when they were seen before."""

    principal: Principal = NOBODY
    seen_ms: int = 0


class Routes:
    """Routes of one module, each with its rule."""

    def __init__(self) -> None:
        self.router = APIRouter(include_in_schema=False, tags=["admin"])
        self.rules: list[Rule] = []

    def get(
        self, path: str, *, least: Role, scope: str | None = None, board: str = "", watchable: bool = False
    ) -> Callable[[Handler], Handler]:
        """Registers a page, or what a machine reads."""
        return self._register(Rule("GET", path, least, scope, board=board, watchable=watchable))

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
            principal = NOBODY if rule.open else await _identify(request, rule)
            if not isinstance(principal, Nobody):
                await _present(request, principal)
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


async def still_in(request: Request, rule: Rule) -> bool:
    """Whether whoever asked may still ask, by what is in force now; for an answer that goes on for long."""
    return decide(await _identify(request, rule), rule) is Decision.ALLOWED


async def look_up(lanes: Lanes, desk: Desk, shown: str, now: int) -> Found:
    """Who shows that, by what is in force at this very moment. Raises Unavailable when nobody can be looked up."""
    kind, _, hashed = shown.partition(" ")
    if kind == TOKEN:
        bearer = await lanes.read("admin", token_service.bearer, hashed, now)
        return Found() if bearer is None else Found(bearer[0], bearer[1] or 0)
    held = await lanes.read("admin", session_service.holder, hashed, now, desk.idle_ms)
    return Found() if held is None else Found(*held)


async def keep_remembered(lanes: Lanes, desk: Desk) -> None:
    """Runs until cancelled: whoever is remembered was in force a few seconds ago, while that can be looked up."""

    async def found(shown: str, now: int) -> Principal:
        return (await look_up(lanes, desk, shown, now)).principal

    while True:
        await asyncio.sleep(LOOK_INTERVAL_S)
        await desk.remembered.look_again(found, http.now_ms())


def _shown(request: Request) -> str:
    """What the request carries to prove who asks, as it may be kept; empty when it carries nothing."""
    token = keys.token_in(request.headers.get("authorization"))
    if token is not None:
        return f"{TOKEN} {keys.hashed(token)}"
    session = keys.session_in(request.cookies, secure=origin(request).secure)
    return "" if session is None else f"{SESSION} {keys.hashed(session)}"


async def _identify(request: Request, rule: Rule) -> Principal:
    """Who asks: nothing is remembered from one request to the next, but for when the database is away."""
    shown = _shown(request)
    if not shown:
        return NOBODY
    lanes, desk, now = http.lanes(request), desk_of(request), http.now_ms()
    try:
        found = await look_up(lanes, desk, shown, now)
    except Unavailable:
        principal = desk.remembered.principal(shown, now) if rule.watchable else NOBODY
        if isinstance(principal, Nobody):
            raise
        return principal
    if rule.watchable:
        desk.remembered.note(shown, found.principal, now)
    request.state.seen_ms = found.seen_ms
    return found.principal


async def _present(request: Request, principal: Person | Machine) -> None:
    """Writes down once a minute that somebody is there. Where nothing can be written, reading goes on."""
    lanes, now = http.lanes(request), http.now_ms()
    last_ms: int = getattr(request.state, "seen_ms", now)  # Whoever is only remembered cannot be written down.
    if now - last_ms >= presence_jobs.EVERY_MS and not lanes.modes.read_only:
        job, subject = (
            (presence_jobs.token_used, principal.token_id)
            if isinstance(principal, Machine)
            else (presence_jobs.session_seen, principal.session_id)
        )
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
