"""Logging in and out, and what anybody may fetch: the page for it and what it looks like."""

from __future__ import annotations

from urllib.parse import urlsplit

import structlog
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from system import http
from system.admin import keys, pages, session_service
from system.admin.access import Role
from system.admin.actions import By, operation
from system.admin.desk import act, desk_of, origin, person
from system.admin.forms import form
from system.admin.guard import LOG_IN, Routes
from system.admin.headers import of_admin
from system.admin.throttle import charged
from system.edge import LOG_INS
from system.errors import NotFound, RateLimited, ServiceError, Unauthorised, Unavailable
from system.metrics import ADMIN_LOG_INS

routes = Routes()
log = structlog.get_logger()

HOME = "/admin"
_FOR_EVER = "public, max-age=31536000, immutable"


@routes.open("GET", "/admin/assets/{name}")
async def asset(request: Request, name: str) -> Response:  # noqa: ARG001  # what every handler takes
    """The stylesheet, or another file, under the name with its content's hash."""
    if name not in pages.ASSETS:
        raise NotFound("asset-not-found", "There is no such file.")
    content, kind = pages.ASSETS[name]
    return Response(content, 200, {"Cache-Control": _FOR_EVER}, kind)


@routes.open("GET", LOG_IN)
async def log_in_page(request: Request, next: str = HOME) -> Response:  # the word in the address
    """The page to log in on."""
    return _page(request, way_back(next))


@routes.open("POST", LOG_IN)
async def log_in(request: Request) -> Response:
    """Log in: a new session, whatever the browser had before, and back to where it came from."""
    back = HOME
    try:
        given = await form(request)
        back = way_back(given.text("next", 500))
        token = await _begin(request, given.text("name", 40), given.text("password", 128))
    except ServiceError as error:
        if not pages.wanted(request):
            raise
        told = pages.trouble(request, error)
        return _page(request, back, told.status_code, _kept(told), error.message)
    cookie = keys.set_cookie(token, secure=origin(request).secure)
    return RedirectResponse(back, 303, {"Set-Cookie": cookie})


@routes.post("/admin/log-out", least=Role.VIEWER)
async def log_out(request: Request) -> Response:
    """Log out: the session has ended, here and for whoever may have copied it."""
    me = person(request)
    await act(request, session_service.revoke, me.session_id, me.account_id)
    cookie = keys.clear_cookie(secure=origin(request).secure)
    return RedirectResponse(LOG_IN, 303, {"Set-Cookie": cookie})


def way_back(wanted: str) -> str:
    """Where a log-in leads: a page of the admin part, never anywhere else, and never to the log-in itself."""
    parts = urlsplit(wanted)
    plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted and "//" not in wanted
    if plain and not parts.scheme and not parts.netloc and of_admin(parts.path) and parts.path != LOG_IN:
        return wanted
    return HOME


async def _begin(request: Request, name: str, password: str) -> str:
    """The token of a new session. Raises Unauthorised, RateLimited while somebody has to wait, or Unavailable."""
    desk, where, now = desk_of(request), origin(request), http.now_ms()
    lanes = http.lanes(request)
    found = await lanes.read(LOG_INS, session_service.credentials, name, where.network, now)
    payers = charged(name, where.network, familiar=found.familiar)
    try:
        desk.throttle.enter(payers)
    except RateLimited:
        ADMIN_LOG_INS.labels("throttled").inc()
        raise
    pool = desk.familiar if found.familiar else desk.strangers
    try:
        right = await pool.verify(found.password_hash, password)
    except Unavailable:
        desk.throttle.forgive(payers)
        ADMIN_LOG_INS.labels("busy").inc()
        raise
    if not right or found.account_id is None or found.password_hash is None:
        ADMIN_LOG_INS.labels("wrong").inc()
        log.info("admin log-in refused", address=where.address)  # without the name: some type their password there
        raise Unauthorised("wrong-credentials", "The name or the password is wrong.")
    desk.throttle.forgive(payers)
    rehashed = await pool.hash(password) if pool.outdated(found.password_hash) else None
    token = keys.new_session()
    former = keys.session_in(request.cookies, secure=where.secure)
    await lanes.write(
        session_service.begin,
        By(name, where.address, found.account_id).plain(),
        found.account_id,
        found.password_hash,
        keys.hashed(token),
        where.network,
        _agent(request),
        now + desk.session_ms,
        rehashed,
        keys.hashed(former) if former else None,
        operation=operation(now),
    )
    ADMIN_LOG_INS.labels("accepted").inc()
    return token


def _agent(request: Request) -> str:
    """What the browser calls itself, as much of it as can be shown on a line."""
    told = request.headers.get("user-agent", "")
    return "".join(character for character in told if character.isprintable())[:200]


def _kept(told: Response) -> dict[str, str]:
    return {name: told.headers[name] for name in ("retry-after", "www-authenticate") if name in told.headers}


def _page(
    request: Request, back: str, status: int = 200, headers: dict[str, str] | None = None, message: str = ""
) -> Response:
    return pages.render(request, "log_in.html", status, headers, back=back, message=message)
