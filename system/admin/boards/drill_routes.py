"""A run's own report, opened from the Drills board."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from fastapi import Request, Response

from system import drill_runs
from system.admin.access import Role
from system.admin.guard import Routes
from system.errors import NotFound

routes = Routes()

NONE: Final = "'none'"
_HASHES: Final = re.compile(rb"(style|script)-src 'sha256-([A-Za-z0-9+/=]{44})'")


@routes.get("/admin/drills/{run_id}/report", least=Role.VIEWER, scope="read:boards", watchable=True)
async def report(request: Request, run_id: str) -> Response:
    """The run's page, in a sandbox: it shows itself and runs its own script, and is nobody's session."""
    page = await asyncio.to_thread(drill_runs.report, request.app.state.settings.runs_dir, run_id)
    if page is None:
        raise NotFound("report-not-found", f"There is no report of a run {run_id[:80]}.")
    return Response(page, headers={"Content-Security-Policy": policy(page)}, media_type="text/html; charset=utf-8")


def policy(page: bytes) -> str:
    """What a browser lets the report do: its own style and its own script, by the hashes that it names, and nothing else."""
    own = {"style": NONE, "script": NONE} | {
        kind.decode(): f"'sha256-{digest.decode()}'" for kind, digest in _HASHES.findall(page[:4096])
    }
    return "; ".join(
        (
            "sandbox allow-scripts",
            f"default-src {NONE}",
            "img-src data:",
            f"style-src {own['style']}",
            f"script-src {own['script']}",
            f"base-uri {NONE}",
            f"form-action {NONE}",
            f"frame-ancestors {NONE}",
        )
    )
