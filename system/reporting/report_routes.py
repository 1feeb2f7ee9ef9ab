"""The records over HTTP, for whoever may view them: pages as JSON, exports as streams, rollups for boards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse

from system import http
from system.admin.access import Role
from system.admin.guard import Handler, Routes
from system.errors import Invalid
from system.reporting import exports, rollups
from system.reporting.listings import RECORDS, Record, filters_of, instant_ms, listing
from system.shapes import ID_MAX

routes = Routes()

DOMAIN = "admin"
MOST_PERIODS = 3_000
"""Periods of a series at most: two days of minutes, or four months of hours."""

Limit = Annotated[int, Query(ge=1, le=1_000)]
User = Annotated[int | None, Query(ge=1, le=ID_MAX)]
Text = Annotated[str | None, Query(max_length=200)]
From = Annotated[str | None, Query(alias="from", max_length=40)]
To = Annotated[str | None, Query(alias="to", max_length=40)]


def _reading(place: str, least: Role = Role.VIEWER) -> Callable[[Handler], Handler]:
    return routes.get(f"/admin/api/{place}", least=least, scope="read:records")


def _page_of(record: Record) -> Handler:
    async def page(
        request: Request,
        limit: Limit = 100,
        after: Text = None,
        user: User = None,
        kind: Text = None,
        status: Text = None,
        start: From = None,
        end: To = None,
    ) -> Response:
        """One page, newest first; `next` goes on as `after`, with the same filters."""
        asked = filters_of(record, user, kind, status, start, end)
        found = await http.lanes(request).long_read(DOMAIN, listing, record, asked, limit, after)
        return Response(msgspec.json.encode(found), 200, {"Cache-Control": "no-store"}, "application/json")

    return page


def _export_of(record: Record, form: str) -> Handler:
    async def export(
        request: Request,
        user: User = None,
        kind: Text = None,
        status: Text = None,
        start: From = None,
        end: To = None,
    ) -> Response:
        """The whole of it, newest first, as a stream."""
        asked = filters_of(record, user, kind, status, start, end)
        told = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{record.name}.{form}"'}
        stream = exports.exported(http.lanes(request), record, asked, form)
        return StreamingResponse(stream, 200, told, exports.FORMS[form][1])

    return export


for _record in RECORDS.values():
    _least = Role.ADMIN if _record is RECORDS["audit"] else Role.VIEWER
    _reading(_record.name, _least)(_page_of(_record))
    for _form in exports.FORMS:
        _reading(f"{_record.name}.{_form}", _least)(_export_of(_record, _form))


@_reading("rollups")
async def series(
    request: Request,
    width: Literal["minute", "hour"] = "minute",
    kind: Text = None,
    start: From = None,
    end: To = None,
) -> Response:
    """Requests and events of each minute or hour within the span, by default the last sixty; and the sums of each kind."""
    width_s = rollups.MINUTE_S if width == "minute" else rollups.HOUR_S
    to_ms = instant_ms("to", end) or http.now_ms()
    from_ms = instant_ms("from", start) or to_ms - 60 * width_s * 1000
    if not 0 <= to_ms - from_ms <= MOST_PERIODS * width_s * 1000:
        raise Invalid("parameter-invalid", f"The parameter from: at most {MOST_PERIODS} periods before `to`.")
    lanes = http.lanes(request)
    found = await lanes.long_read(DOMAIN, rollups.series, width_s, from_ms, to_ms, kind)
    kinds = await lanes.long_read(DOMAIN, rollups.rows_of_kinds, width_s, from_ms, to_ms)
    body = {"width": width, **found, "kinds": kinds}
    return Response(msgspec.json.encode(body), 200, {"Cache-Control": "no-store"}, "application/json")
