"""The page of sessions, and the page on which somebody changes their own password."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from system import http
from system.admin import account_service, pages, session_service
from system.admin.access import Role
from system.admin.credentials import checked_password
from system.admin.desk import act, desk_of, origin, person
from system.admin.forms import form
from system.admin.guard import Routes
from system.admin.throttle import charged
from system.errors import Invalid, Unauthorised, Unavailable
from system.shapes import PathId

routes = Routes()

SESSIONS = "/admin/sessions"
PASSWORD = "/admin/password"  # noqa: S105  # a path
_DONE = {"revoked": "The session has ended.", "others": "Every other session of yours has ended.", "": ""}


@routes.get(SESSIONS, least=Role.VIEWER)
async def sessions(request: Request, done: str = "") -> Response:
    """The sessions in force: one's own, and for an admin everybody's."""
    me = person(request)
    whose = None if me.role is Role.ADMIN else me.account_id
    found = await http.lanes(request).read(
        "admin", session_service.listing, whose, http.now_ms(), desk_of(request).idle_ms
    )
    return pages.render(request, "sessions.html", sessions=found, done=_DONE.get(done, ""))


@routes.post("/admin/sessions/others/revoke", least=Role.VIEWER)
async def revoke_others(request: Request) -> Response:
    """End every session of one's own but this one."""
    me = person(request)
    await act(request, session_service.revoke_others, me.account_id, me.session_id)
    return RedirectResponse(f"{SESSIONS}?done=others", 303)


@routes.post("/admin/sessions/{session_id}/revoke", least=Role.VIEWER)
async def revoke(request: Request, session_id: PathId) -> Response:
    """End a session of one's own, or as an admin anybody's."""
    me = person(request)
    await act(request, session_service.revoke, session_id, None if me.role is Role.ADMIN else me.account_id)
    return RedirectResponse(f"{SESSIONS}?done=revoked", 303)


@routes.get(PASSWORD, least=Role.VIEWER)
async def password_page(request: Request, done: str = "") -> Response:
    """The page to change one's password on."""
    return pages.render(request, "password.html", message="", done=bool(done))


@routes.post(PASSWORD, least=Role.VIEWER)
async def change_password(request: Request) -> Response:
    """Change one's password: every other session ends."""
    try:
        await _change(request)
    except (Invalid, Unauthorised) as error:
        # Not 401, which would ask for a log-in: the session is fine, the form is not.
        return pages.render(request, "password.html", 400, message=error.message, done=False)
    return RedirectResponse(f"{PASSWORD}?done=changed", 303)


async def _change(request: Request) -> None:
    me, desk, where = person(request), desk_of(request), origin(request)
    given = await form(request)
    new = checked_password(given.text("new", 1_000))
    if new != given.text("again", 1_000):
        raise Invalid("passwords-differ", "The new password was typed in two ways.")
    found = await http.lanes(request).read("admin", session_service.credentials, me.name, where.network, http.now_ms())
    payers = charged(me.name, where.network, familiar=True)
    desk.throttle.enter(payers)
    try:
        right = await desk.familiar.verify(found.password_hash, given.text("current", 128))
    except Unavailable:
        desk.throttle.forgive(payers)
        raise
    if not right:
        raise Unauthorised("wrong-credentials", "The current password is wrong.")
    desk.throttle.forgive(payers)
    hashed = await desk.familiar.hash(new)
    await act(request, account_service.set_password, me.account_id, hashed, me.session_id)
