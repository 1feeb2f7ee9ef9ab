"""The page of the audit log; the log itself is a record like the others (`reporting/listings.py`), for admins alone."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from fastapi import Request, Response

from system import http
from system.admin import pages
from system.admin.access import Role
from system.admin.boards.asked import Filter, Question, question, spelt
from system.admin.guard import Routes
from system.reporting.listings import RECORDS, Filters, listing
from system.shapes import Limit

routes = Routes()

RECORD = RECORDS["audit"]
FILTERS = (Filter("kind", "Action"), Filter("user", "Account's id", kind="number"))


@routes.get("/admin/audit", least=Role.ADMIN, scope="read:records")
async def audit(request: Request, limit: Limit = 50) -> Response:
    """What was done, newest first, a page at a time."""
    asked = question(FILTERS, request.query_params)
    user = asked.filter("user")
    filters = Filters(int(user) if user else None, asked.filter("kind"), None, asked.from_ms, asked.to_ms)
    found = await http.lanes(request).long_read("admin", listing, RECORD, filters, limit, asked.after or None)
    if not pages.wanted(request):
        return Response(msgspec.json.encode(found), 200, media_type="application/json")
    return pages.render(
        request, "audit.html", items=found["audit"], asked=asked, filters=FILTERS, spelt=spelt, exported=_query(asked),
        older=_query(asked, limit=str(limit), after=found["next"]) if found["next"] else "",
    )  # fmt: skip


def _query(asked: Question, **more: str) -> str:
    """The question as it stands in the address of the log, and of its exports."""
    times = [(name, f"{spelt(at)}Z") for name, at in (("from", asked.from_ms), ("to", asked.to_ms)) if at is not None]
    return urlencode([*times, *asked.filters, *more.items()])
