"""Who may read the records: the one place that lets anybody in."""

from __future__ import annotations

import hmac

from fastapi import Request

from system import http
from system.errors import NotFound, Unauthorised
from system.settings import Settings


async def require_viewer(request: Request) -> None:
    """Returns for whoever carries the process's `GYM_ADMIN_TOKEN`. Raises NotFound where none is set, else Unauthorised."""
    config: Settings = request.app.state.settings
    if config.admin_token is None:
        raise NotFound("route-not-found", f"{request.method} {request.url.path}: Not Found.")
    carried = http.token(request).encode()
    if not hmac.compare_digest(carried, config.admin_token.get_secret_value().encode()):
        raise Unauthorised("viewer-unknown", "The token is not the one that reads records.")
