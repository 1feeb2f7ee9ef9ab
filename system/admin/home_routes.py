"""The first page after a log-in: what there is to see here."""

from __future__ import annotations

from fastapi import Request, Response

from system.admin import pages
from system.admin.access import Role
from system.admin.guard import Routes

routes = Routes()


@routes.get("/admin", least=Role.VIEWER)
async def home(request: Request) -> Response:
    """The boards and places that whoever asks may see."""
    return pages.render(request, "home.html")
