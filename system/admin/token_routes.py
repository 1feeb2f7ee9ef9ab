"""The page of API tokens."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from system import http
from system.admin import keys, pages, token_service
from system.admin.access import SCOPES, Role
from system.admin.desk import act, person
from system.admin.forms import form
from system.admin.guard import Routes
from system.errors import Invalid
from system.shapes import PathId

routes = Routes()

TOKENS = "/admin/tokens"
DAYS_MOST = 365
_DAY_MS = 24 * 3_600_000


@routes.get(TOKENS, least=Role.ADMIN)
async def tokens(request: Request, done: str = "") -> Response:
    """The tokens there are, without what they are."""
    return await _page(request, done="The token has ended." if done else "")


@routes.post(TOKENS, least=Role.ADMIN)
async def create(request: Request) -> Response:
    """Make a token. It is on the page that answers this, and nowhere else, ever."""
    try:
        given = await form(request)
        name = given.text("name", 60).strip()
        if not name:
            raise Invalid("form-invalid", "Say what the token is for, so that it can be told from the others.")
        scopes = given.several("scope", SCOPES)
        days = given.whole("days", 1, DAYS_MOST)
    except Invalid as error:
        return await _page(request, 400, message=error.message)
    token = keys.new_token()
    expires_ms = http.now_ms() + days * _DAY_MS
    me = person(request)
    await act(request, token_service.create, me.account_id, name, keys.hashed(token), scopes, expires_ms)
    return await _page(request, 201, token=token)


@routes.post("/admin/tokens/{token_id}/revoke", least=Role.ADMIN)
async def revoke(request: Request, token_id: PathId) -> Response:
    """End a token."""
    await act(request, token_service.revoke, token_id)
    return RedirectResponse(f"{TOKENS}?done=revoked", 303)


async def _page(request: Request, status: int = 200, done: str = "", message: str = "", token: str = "") -> Response:
    found = await http.lanes(request).read("admin", token_service.listing)
    return pages.render(
        request, "tokens.html", status, tokens=found, scopes=SCOPES, now_ms=http.now_ms(), days_most=DAYS_MOST,
        done=done, message=message, token=token,
    )  # fmt: skip
