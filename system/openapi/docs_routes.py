"""The description as JSON, and Swagger UI to read it and try it with: all of it from here, under a policy of its own.

Swagger UI lies in `swagger-ui/` as it was published, with its licence; `published.json` names the release and each file's
hash. What starts it is a file of ours, as the policy lets no script run that stands in the page.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache
from html import escape
from pathlib import Path

import msgspec
from fastapi import APIRouter, FastAPI, Request, Response

from system.errors import NotFound
from system.openapi.description import described

HERE = Path(__file__).parent
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # the signs that are drawn in Swagger UI's own stylesheet
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_GUARDED = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

router = APIRouter(include_in_schema=False, tags=["docs"])


@router.get("/openapi.json", response_model=None)
async def openapi(request: Request) -> Response:
    """The description of the platform."""
    return Response(_document(request.app), media_type="application/json")


@router.get("/docs", response_model=None)
async def docs(request: Request) -> Response:
    """The page that shows it."""
    at = {path.name: f"/docs/assets/{name}" for name, path in _assets().items()}
    page = _PAGE.format(title=escape(request.app.title), at=at)
    return Response(page, headers=_GUARDED, media_type="text/html; charset=utf-8")


@router.get("/docs/assets/{name}", response_model=None)
async def asset(name: str) -> Response:
    """A file of the page. Its name holds its hash, so that it may be kept for ever."""
    path = _assets().get(name)
    if path is None:
        raise NotFound("asset-not-found", f"There is no file {name[:80]} here.")
    content = await asyncio.to_thread(path.read_bytes)
    kept = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(content, headers=kept, media_type=_TYPES[path.suffix])


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{at[swagger-ui.css]}">
<link rel="stylesheet" href="{at[page.css]}">
</head>
<body>
<noscript>This page needs scripts. What it shows is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<main id="swagger-ui" data-description="/openapi.json"></main>
<script src="{at[swagger-ui-bundle.js]}"></script>
<script src="{at[start.js]}"></script>
</body>
</html>
"""


@cache
def _assets() -> dict[str, Path]:
    """The files by the names that they are served under."""
    found = [HERE / "swagger-ui" / "swagger-ui-bundle.js", HERE / "swagger-ui" / "swagger-ui.css"]
    found += sorted((HERE / "assets").iterdir())
    return {f"{path.stem}.{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}{path.suffix}": path for path in found}


@cache
def _document(app: FastAPI) -> bytes:
    return msgspec.json.encode(described(app))
