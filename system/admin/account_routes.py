"""The page of admin accounts."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from system import http
from system.admin import account_service, pages
from system.admin.access import Role
from system.admin.credentials import checked_name, checked_password, checked_role
from system.admin.desk import act, desk_of
from system.admin.forms import form
from system.admin.guard import Routes
from system.errors import Conflict, Invalid, ServiceError
from system.jobs import Job
from system.shapes import PathId

routes = Routes()

ACCOUNTS = "/admin/accounts"
_DONE = {
    "created": "The account was made. Its password is for its owner, who had better change it.",
    "role": "The role was changed.",
    "disabled": "The account is disabled; its sessions and tokens have ended.",
    "enabled": "The account may sign in again.",
}


@routes.get(ACCOUNTS, least=Role.ADMIN)
async def accounts(request: Request, done: str = "") -> Response:
    """Every account."""
    return await _page(request, done=_DONE.get(done, ""))


@routes.post(ACCOUNTS, least=Role.ADMIN)
async def create(request: Request) -> Response:
    """Make an account."""
    name = ""
    try:
        given = await form(request)
        name = given.text("name", 40)
        checked_name(name)
        role = checked_role(given.text("role", 20))
        hashed = await desk_of(request).familiar.hash(checked_password(given.text("password", 1_000)))
        await act(request, account_service.create, name, str(role), hashed)
    except (Invalid, Conflict) as error:
        return await _refused(request, error, name)
    return RedirectResponse(f"{ACCOUNTS}?done=created", 303)


@routes.post("/admin/accounts/{account_id}/role", least=Role.ADMIN)
async def change_role(request: Request, account_id: PathId) -> Response:
    """Give an account another role."""
    try:
        role = checked_role((await form(request)).text("role", 20))
        await act(request, account_service.change_role, account_id, str(role))
    except (Invalid, Conflict) as error:
        return await _refused(request, error)
    return RedirectResponse(f"{ACCOUNTS}?done=role", 303)


@routes.post("/admin/accounts/{account_id}/disable", least=Role.ADMIN)
async def disable(request: Request, account_id: PathId) -> Response:
    """Let nobody sign in to an account any more."""
    return await _switch(request, account_service.disable, account_id, "disabled")


@routes.post("/admin/accounts/{account_id}/enable", least=Role.ADMIN)
async def enable(request: Request, account_id: PathId) -> Response:
    """Let an account sign in again."""
    return await _switch(request, account_service.enable, account_id, "enabled")


async def _switch(request: Request, job: Job, account_id: int, done: str) -> Response:
    try:
        await act(request, job, account_id)
    except Conflict as error:
        return await _refused(request, error)
    return RedirectResponse(f"{ACCOUNTS}?done={done}", 303)


async def _refused(request: Request, error: ServiceError, name: str = "") -> Response:
    """The page again, saying why not."""
    return await _page(request, status=409 if isinstance(error, Conflict) else 400, message=error.message, name=name)


async def _page(request: Request, status: int = 200, done: str = "", message: str = "", name: str = "") -> Response:
    found = await http.lanes(request).read("admin", account_service.listing)
    return pages.render(
        request, "accounts.html", status, accounts=found, roles=list(Role), done=done, message=message, name=name
    )
