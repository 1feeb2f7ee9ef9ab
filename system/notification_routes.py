"""Notifications over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from system import http, notification_service
from system.shapes import ID_MAX, Before, Limit, PathId

router = APIRouter(prefix="/notifications", tags=["notifications"])


@router.get("", response_model=None)
async def notifications(
    request: Request,
    unread: bool = False,
    limit: Limit = 20,
    before: Before = ID_MAX,
) -> Response:
    """The caller's inbox, newest first."""
    return await http.read_own(request, "notifications", notification_service.listing, unread, limit, before)


@router.get("/unread-count", response_model=None)
async def unread_count(request: Request) -> Response:
    """How many the caller has not read."""
    return await http.read_own(request, "notifications", notification_service.unread_count)


@router.post("/read-all", response_model=None)
async def read_all(request: Request) -> Response:
    """Mark all as read."""
    return await http.write_own(request, notification_service.mark_all_read)


@router.post("/{notification_id}/read", response_model=None)
async def read(request: Request, notification_id: PathId) -> Response:
    """Mark one as read."""
    return await http.write_own(request, notification_service.mark_read, notification_id)
