"""The runbooks in the browser: what an alert says to do is one click away, whatever else is gone."""

from __future__ import annotations

import asyncio

from fastapi import Request, Response
from markupsafe import Markup

from system import runbooks
from system.admin import pages
from system.admin.access import Role
from system.admin.guard import Routes
from system.errors import NotFound

routes = Routes()

LIST = "README"


@routes.get("/admin/runbooks", least=Role.VIEWER, scope="read:boards", watchable=True)
async def listing(request: Request) -> Response:
    """Which runbooks there are, and for what."""
    return await _page(request, LIST)


@routes.get("/admin/runbooks/{name}", least=Role.VIEWER, scope="read:boards", watchable=True)
async def runbook(request: Request, name: str) -> Response:
    """One runbook."""
    return await _page(request, name)


async def _page(request: Request, name: str) -> Response:
    html = await asyncio.to_thread(runbooks.drawn, name)
    if html is None:
        raise NotFound(
            "runbook-not-found", f"There is no runbook {name[:80]}; there are {', '.join(runbooks.names())}."
        )
    title = "Runbooks" if name == LIST else name.replace("-", " ")
    # Nothing in it can be a tag that the runbook did not mean: `runbooks.drawn`.
    return pages.render(request, "runbook.html", title=title, text=Markup(html), list=name == LIST)  # noqa: S704
