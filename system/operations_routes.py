"""Asking what became of an operation: how a client resolves an unknown outcome."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from system import http, operations_service

router = APIRouter(prefix="/operations", tags=["operations"])


@router.get("/{operation_id}", response_model=None)
async def get_operation(request: Request, operation_id: str) -> Response:
    """The caller's own applied operation. 404 means that it was not applied, or not by the caller."""
    return await http.read_own(request, "operations", operations_service.find, operation_id)
