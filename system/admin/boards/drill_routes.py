"""The Drills board: how the last runs went, how recovery and loss have moved, and each run's own report."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated, Final

import msgspec
from fastapi import Query, Request, Response

from system import drill_runs
from system.admin import pages
from system.admin.access import Role
from system.admin.boards.trend import Trend, trend
from system.admin.guard import Routes
from system.drill_runs import Drilled
from system.errors import NotFound

routes = Routes()

DRILLS: Final = "/admin/drills"
MOST: Final = 50
NONE: Final = "'none'"
_HASHES: Final = re.compile(rb"(style|script)-src 'sha256-([A-Za-z0-9+/=]{44})'")


@routes.get(DRILLS, least=Role.VIEWER, scope="read:boards", board="Drills", watchable=True)
async def drills(request: Request, drill: Annotated[str, Query(max_length=80)] = "") -> Response:
    """The last runs, of one drill or of all of them."""
    place: Path = request.app.state.settings.runs_dir
    every = await asyncio.to_thread(drill_runs.newest, place, MOST)
    names = sorted({run.drill for run in every})
    shown = [run for run in every if drill in ("", run.drill)]
    if not pages.wanted(request):
        return Response(msgspec.json.encode({"runs": shown}), 200, media_type="application/json")
    return pages.render(
        request,
        "drills.html",
        runs=shown,
        names=names,
        drill=drill,
        place=str(place),
        most=MOST,
        trends=[one for one in (_recovery(shown), _loss(shown)) if one is not None],
    )


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


def _recovery(runs: list[Drilled]) -> Trend | None:
    points = [(run, run.rto.total_s if run.rto else None) for run in reversed(runs)]
    return trend("RTO", "time to recover, in seconds", points)


def _loss(runs: list[Drilled]) -> Trend | None:
    points = [(run, run.rpo.seconds if run.rpo else None) for run in reversed(runs)]
    return trend("RPO", "span of what was lost, in seconds", points)
