"""The page of the audit log, and the same for machines."""

from __future__ import annotations

import msgspec
from fastapi import Request, Response

from system import http
from system.admin import audit_reads, pages
from system.admin.access import Role
from system.admin.guard import Routes
from system.shapes import ID_MAX, Before, Limit

routes = Routes()


@routes.get("/admin/audit", least=Role.ADMIN, scope="read:records")
async def audit(request: Request, limit: Limit = 50, before: Before = ID_MAX) -> Response:
    """What was done, newest first, a page at a time."""
    found = await http.lanes(request).read("admin", audit_reads.page, limit, before)
    if not pages.wanted(request):
        return Response(msgspec.json.encode(found), 200, media_type="application/json")
    return pages.render(request, "audit.html", **found, limit=limit, first=before == ID_MAX)
