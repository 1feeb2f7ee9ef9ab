"""One alert's page, the page of silences, and what is done about them: acknowledged, silenced, and a silence ended.

All of it shows from memory and files while the database is gone. What is done here is audited first and done then, so while
nothing can be written nothing is done: `gymkhana alerts ack` does it at the console.
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
from system.admin.boards import alert_board, alert_jobs
from system.admin.boards.alert_board import ALERTS, SILENCES
from system.admin.desk import act, by
from system.admin.forms import form
from system.admin.guard import Routes
from system.alerts import board, durations
from system.alerts.decisions import DecisionRefused
from system.alerts.watch import Watch
from system.errors import Conflict, NotFound

routes = Routes()

LASTING: Final = ("30m", "1h", "2h", "8h", "1d", "7d")
EVERYTHING: Final = "everything"
WHY: Final = 200
_DONE: Final = {
    "acknowledged": "The alert is acknowledged, until it ends.",
    "silenced": "The silence is in force.",
    "ended": "The silence has ended.",
}


@routes.get(SILENCES, least=Role.VIEWER, scope="read:boards", watchable=True)
async def silences(request: Request, done: str = "") -> Response:
    """The silences in force, and the form for another."""
    told = await _told(request)
    if not pages.wanted(request):
        return _json({"silences": told["silences"]})
    names = [one["name"] for one in told["alerts"]]
    return pages.render(
        request,
        "silences.html",
        told=told,
        names=names,
        lasting=LASTING,
        everything=EVERYTHING,
        done=_DONE.get(done, ""),
    )


@routes.get("/admin/alerts/{name}", least=Role.VIEWER, scope="read:boards", watchable=True)
async def alert(request: Request, name: str, done: str = "") -> Response:
    """One alert: why it fires, since when, what to do about it, and the forms to say that somebody does."""
    told = await _told(request)
    one = _one(told, name)
    if not pages.wanted(request):
        return _json(one)
    since = datetime.fromisoformat(one["since"]).timestamp() if one["since"] else None
    return pages.render(
        request,
        "alert.html",
        one=one,
        late=told["late"],
        runbook=runbooks.named(one["runbook"]),
        lasted="" if since is None else durations.words(http.now_ms() / 1000 - since),
        lasting=LASTING,
        done=_DONE.get(done, ""),
    )


@routes.post("/admin/alerts/{name}/acknowledge", least=Role.OPERATOR, scope="write:alerts")
async def acknowledge(request: Request, name: str) -> Response:
    """Say that somebody looks after an alert that fires."""
    given = await form(request)
    why = given.text("why", WHY)
    watch = _watch(request)
    if _one(await _told(request), name)["state"] not in ("firing", "acknowledged", "silenced"):
        raise Conflict("alert-not-firing", f"{name} does not fire, so there is nothing to acknowledge.")
    await act(request, alert_jobs.acknowledged, name, why)
    said = await _said(board.acknowledge, watch.runtime, watch.rules, name, by=by(request).name, why=why)
    return _answer(request, f"{ALERTS}/{name}?done=acknowledged", said)


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
    page = f"{ALERTS}/{wanted}" if wanted in names else SILENCES
    return _answer(request, f"{page}?done=silenced", said)


@routes.post("/admin/alerts/silences/{silence_id}/end", least=Role.OPERATOR, scope="write:alerts")
async def end(request: Request, silence_id: str) -> Response:
    """End a silence now."""
    watch = _watch(request)
    if silence_id not in {one["id"] for one in (await _told(request))["silences"]}:
        raise NotFound("silence-not-found", f"No silence {silence_id[:80]} is in force.")
    await act(request, alert_jobs.unsilenced, silence_id)
    return _answer(request, f"{SILENCES}?done=ended", await _said(board.unsilence, watch.runtime, silence_id))


def _watch(request: Request) -> Watch:
    found: Watch = request.app.state.alerts
    return found


async def _told(request: Request) -> dict[str, Any]:
    return await asyncio.to_thread(alert_board.told, _watch(request), http.now_ms() / 1000)


def _one(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = next((one for one in told["alerts"] if one["name"] == name), None)
    if found is None:
        raise NotFound("alert-not-found", f"There is no alert {name[:80]}.")
    return found


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


def _answer(request: Request, page: str, said: Any) -> Response:
    return RedirectResponse(page, 303) if pages.wanted(request) else _json(said)


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), 200, media_type="application/json")
