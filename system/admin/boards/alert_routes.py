"""The Alerts board: what fires, why, since when, what to do; and the forms to acknowledge, silence and end a silence.

It is drawn from memory and files, so it shows while the database is gone. What is done here is audited first and done
then, so while nothing can be written nothing is done: `gymkhana alerts ack` does it at the console.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from system import http, runbooks
from system.admin import pages
from system.admin.access import Role
from system.admin.boards import alert_jobs
from system.admin.desk import act, by
from system.admin.forms import form
from system.admin.guard import Routes
from system.alerts import board, durations
from system.alerts.decisions import DecisionRefused
from system.alerts.watch import Watch
from system.errors import Conflict, NotFound

routes = Routes()

ALERTS: Final = "/admin/alerts"
LASTING: Final = ("30m", "1h", "2h", "8h", "1d", "7d")
EVERYTHING: Final = "everything"
SECTIONS: Final = ("firing", "acknowledged", "silenced", "pending", "resolved")
WHY: Final = 200
_DONE: Final = {
    "acknowledged": "The alert is acknowledged, until it ends.",
    "silenced": "The silence is in force.",
    "ended": "The silence has ended.",
}


@routes.get(ALERTS, least=Role.VIEWER, scope="read:boards", board="Alerts", watchable=True)
async def alerts(request: Request, done: str = "") -> Response:
    """Every alert with where it is, and the silences in force."""
    told = await asyncio.to_thread(_told, request)
    if not pages.wanted(request):
        return Response(msgspec.json.encode(told), 200, media_type="application/json")
    by_state = {state: [one for one in told["alerts"] if one["state"] == state] for state in SECTIONS}
    return pages.render(
        request,
        "alerts.html",
        told=told,
        sections=by_state,
        quiet=[one for one in told["alerts"] if one["state"] not in SECTIONS],
        lasting=LASTING,
        everything=EVERYTHING,
        done=_DONE.get(done, ""),
    )


@routes.post("/admin/alerts/{name}/acknowledge", least=Role.OPERATOR, scope="write:alerts")
async def acknowledge(request: Request, name: str) -> Response:
    """Say that somebody looks after an alert that fires."""
    given = await form(request)
    why = given.text("why", WHY)
    watch = _watch(request)
    state = {one["name"]: one["state"] for one in (await asyncio.to_thread(_told, request))["alerts"]}
    if name not in state:
        raise NotFound("alert-not-found", f"There is no alert {name[:80]}.")
    if state[name] not in ("firing", "acknowledged", "silenced"):
        raise Conflict("alert-not-firing", f"{name} does not fire, so there is nothing to acknowledge.")
    await act(request, alert_jobs.acknowledged, name, why)
    said = await _said(board.acknowledge, watch.runtime, watch.rules, name, by=by(request).name, why=why)
    return _answer(request, "acknowledged", said)


@routes.post("/admin/alerts/silences", least=Role.OPERATOR, scope="write:alerts")
async def silence(request: Request) -> Response:
    """Tell nobody of an alert, or of all of one severity, or of any, for so long."""
    given = await form(request)
    why, watch = given.text("why", WHY), _watch(request)
    (lasting,) = given.several("lasting", LASTING)[:1]
    names = [rule.name for rule in watch.rules]
    (wanted,) = given.several("of", [EVERYTHING, "severity=critical", "severity=warning", *names])[:1]
    await act(request, alert_jobs.silenced, f"alerts {wanted}", lasting, why)
    said = await _said(
        board.silence,
        watch.runtime,
        watch.rules,
        _matchers(wanted),
        lasting_s=durations.seconds(lasting),
        by=by(request).name,
        why=why,
    )
    return _answer(request, "silenced", said)


@routes.post("/admin/alerts/silences/{silence_id}/end", least=Role.OPERATOR, scope="write:alerts")
async def end(request: Request, silence_id: str) -> Response:
    """End a silence now."""
    watch = _watch(request)
    if silence_id not in {one["id"] for one in (await asyncio.to_thread(_told, request))["silences"]}:
        raise NotFound("silence-not-found", f"No silence {silence_id[:80]} is in force.")
    await act(request, alert_jobs.unsilenced, silence_id)
    return _answer(request, "ended", await _said(board.unsilence, watch.runtime, silence_id))


def _watch(request: Request) -> Watch:
    found: Watch = request.app.state.alerts
    return found


def _told(request: Request) -> dict[str, Any]:
    """The board's document, with the runbook's page and how long it is so; `late` says why it cannot be trusted."""
    now_s = http.now_ms() / 1000
    told = _watch(request).document()
    for one in told["alerts"]:
        one["page"] = runbooks.named(one["runbook"])
        since = datetime.fromisoformat(one["since"]).timestamp() if one["since"] else None
        one["for"] = durations.words(now_s - since) if since is not None else ""
    told["late"] = _watch(request).late(now_s)
    return told


def _matchers(wanted: str) -> Mapping[str, str]:
    if wanted == EVERYTHING:
        return {"severity": "=~critical|warning"}
    label, found, value = wanted.partition("=")
    return {label: value} if found else {"alertname": wanted}


async def _said(say: Any, *args: Any, **words: Any) -> Any:
    """What was said, written down. Raises Conflict when that is refused."""
    try:
        return await asyncio.to_thread(say, *args, **words)
    except DecisionRefused as error:
        raise Conflict("not-said", str(error)) from error


def _answer(request: Request, done: str, said: Any) -> Response:
    if pages.wanted(request):
        return RedirectResponse(f"{ALERTS}?done={done}", 303)
    return Response(msgspec.json.encode(said), 200, media_type="application/json")
