"""The Alerts board: what fires, since when, what to do. From memory and files, so it goes on while the database is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from system import runbooks
from system.admin.boards.board import Board, Look, Part
from system.admin.boards.panels import Cell, Column, Figure, Figures, Mark, Panel, Table
from system.alerts.decisions import DecisionRefused
from system.alerts.watch import Watch

ALERTS: Final = "/admin/alerts"
SILENCES: Final = "/admin/alerts/silences"
STATES: Final = ("firing", "acknowledged", "silenced", "pending", "resolved")
"""The states that are worth a look, the worst first; one in any other is quiet."""
_MARKS: Final[Mapping[str, Mark]] = {
    "firing": "off",
    "acknowledged": "wait",
    "silenced": "wait",
    "pending": "wait",
    "resolved": "on",
}

_LOUD: Final = (
    Column("State"), Column("Severity"), Column("Alert", "name"), Column("Since", "when"), Column("Now", "when"),
    Column("To do"), Column("Runbook", "when"),
)  # fmt: skip
_SILENT: Final = (
    Column("Of", "name"), Column("Until", "when"), Column("By"), Column("Why"), Column("End it", "act"),
)  # fmt: skip
_QUIET: Final = (
    Column("Alert", "name"), Column("Severity"), Column("Now", "when"), Column("Fires when", "code"),
    Column("Runbook", "when"),
)  # fmt: skip


def told(watch: Watch, now_s: float) -> dict[str, Any]:
    """Every alert and silence; `late` is why that may not be how it is now, empty when it is."""
    try:
        return watch.document() | {"late": watch.late(now_s)}
    except DecisionRefused as error:
        return {"looked": None, "firing": 0, "alerts": [], "silences": [], "late": str(error)}


async def alerts(look: Look) -> Sequence[Panel]:
    """The whole board."""
    return panels(await asyncio.to_thread(told, look.service.alerts, look.now_ms / 1000))


def panels(document: Mapping[str, Any]) -> Sequence[Panel]:
    """The board of such a document. Pure."""
    every: Sequence[Mapping[str, Any]] = document["alerts"]
    loud = sorted((one for one in every if one["state"] in STATES), key=lambda one: STATES.index(one["state"]))
    quiet = [one for one in every if one["state"] not in STATES]
    counted = {state: sum(one["state"] == state for one in every) for state in STATES}
    figures = [
        Figure(state.capitalize(), str(counted[state]), mark=_MARKS[state] if counted[state] else "")
        for state in STATES
    ]
    return [
        Figures("alerts", "Alerts", figures, document["late"]),
        Table("loud", "What wants a look", _LOUD, [_loud(one) for one in loud], "Nothing fires."),
        Table("silences", "Silences", _SILENT, [_silence(one) for one in document["silences"]], "None is in force."),
        Table("quiet", "Quiet", _QUIET, [_quiet(one) for one in quiet], "Every alert wants a look."),
    ]


def _loud(one: Mapping[str, Any]) -> list[Cell]:
    said = one["acknowledged"]
    note = f"by {said['by']}" if said else f"until {_spelt(one['silenced_until'])}" if one["silenced_until"] else ""
    return [
        Cell(one["state"], _MARKS[one["state"]], note=note),
        Cell(one["severity"]),
        _name(one),
        Cell(_spelt(one["since"])),
        Cell(one["told"]),
        Cell(one["what_to_do"]),
        _runbook(one),
    ]


def _quiet(one: Mapping[str, Any]) -> list[Cell]:
    return [_name(one), Cell(one["severity"]), Cell(one["told"]), Cell(one["condition"]), _runbook(one)]


def _silence(one: Mapping[str, Any]) -> list[Cell]:
    of = " and ".join(f"{label} {wanted}" for label, wanted in one["matchers"].items())
    end = Cell("End", post=f"{SILENCES}/{quote(one['id'], safe='')}/end", least="operator")
    return [Cell(of), Cell(_spelt(one["ends"])), Cell(one["by"]), Cell(one["why"]), end]


def _name(one: Mapping[str, Any]) -> Cell:
    return Cell(one["name"], href=f"{ALERTS}/{one['name']}")


def _runbook(one: Mapping[str, Any]) -> Cell:
    page = runbooks.named(one["runbook"])
    return Cell(one["runbook"]) if page is None else Cell(page.replace("-", " "), href=f"/admin/runbooks/{page}")


def _spelt(instant: str | None) -> str:
    """An instant of a document as people read it."""
    return "" if instant is None else instant[:19].replace("T", " ")


BOARD = Board(
    "Alerts",
    ALERTS,
    "What fires, since when, and what to do about it. An alert's own page says why, and takes what you do about it.",
    (Part("the alerts", alerts),),
    timed=False,
    template="alerts.html",
)
