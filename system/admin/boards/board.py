"""A board, declared: its name and place, what it can be asked by, and the parts that it is made of.

    async def settled(look: Look) -> list[Panel]:
        rows = await look.read(newest, look.window.from_ms)       # newest(connection, from_ms), in a thread
        return [Table("settled", "Latest matches", COLUMNS, [cells(row) for row in rows])]

    BOARD = Board("Matches", "/admin/matches", "Tournaments in play.", (Part("the latest matches", settled),))

That is all: named in `every.py`, it has a page (readable without scripts), its place in the navigation, its answer as JSON
for machines with the scope `read:boards`, and it is live. A module that also acts declares its POST routes itself with
`Routes` (`guard.py`) and has them named in `room.py`; a `Cell(..., post=path, least="operator")` is the button that leads
there, and a `template` of its own, which extends `board.html`, holds other forms in its blocks `above` and `below`.

A part that needs the database and does not get it is left out, and the page says so in one sentence; with `without`, that is
shown in its place. What a part reads is read anew for each second of a live board, unless `keep_s` lets it grow old.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from system.admin.boards.asked import Filter, Question, Window
from system.admin.boards.panels import Document, Panel
from system.admin.boards.recent import Recent
from system.alerts.watch import Watch
from system.errors import Unavailable
from system.health import Health
from system.lanes import Lanes
from system.reporting.listings import Filters
from system.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

DOMAIN = "admin"
READ_S = 3.0


@dataclass(frozen=True, slots=True)
class Service:
    """What there is to be looked at in this process."""

    lanes: Lanes
    health: Health
    recent: Recent
    alerts: Watch
    config: Settings


@dataclass(frozen=True, slots=True)
class Kept:
    """What was read lately for one question, each with the instant from which it is too old."""

    known: dict[str, tuple[float, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the service for one question."""

    service: Service
    question: Question
    window: Window
    now_ms: int
    kept: Kept
    away: list[Unavailable] = field(default_factory=list)
    """Why the database could not be read at this look."""

    async def read(
        self,
        function: Callable[Concatenate[Connection, P], R],
        *args: P.args,
        **kw: P.kwargs,
    ) -> R:
        """What the function reads of the database, out of the way of requests. Raises Unavailable.

        A database that does not answer in time is not asked again at this look: whoever looks waits for it once.
        """
        if self.away:
            raise self.away[0]
        try:
            async with asyncio.timeout(READ_S):
                return await self.service.lanes.long_read(DOMAIN, function, *args, **kw)
        except TimeoutError as error:
            self.away.append(Unavailable("read-too-long", "The database did not answer in time."))
            raise self.away[0] from error
        except Unavailable as error:
            self.away.append(error)
            raise

    async def read_seldom(
        self,
        keep_s: float,
        function: Callable[Concatenate[Connection, P], R],
        *args: P.args,
        **kw: P.kwargs,
    ) -> R:
        """The same, at most once in so many seconds for this question, however often it is asked meanwhile."""
        name = f"{function.__module__}.{function.__qualname__}"
        until, value = self.kept.known.get(name, (0.0, None))
        if time.monotonic() >= until:
            value = await self.read(function, *args, **kw)
            self.kept.known[name] = (time.monotonic() + keep_s, value)
        found: R = value
        return found

    def older(self, after: str | None) -> str:
        """The address where a listing goes on; empty at its end."""
        return f"?{self.question.pinned(self.window).query(after=after)}" if after else ""

    def choosing(self, name: str, value: object) -> str:
        """The address of the same board with that filter."""
        return f"?{self.question.choosing(name, str(value)).query()}"

    def filters(self) -> Filters:
        """The question as the records are asked (`reporting/listings.py`)."""
        user = self.question.filter("user")
        return Filters(
            int(user) if user else None,
            self.question.filter("kind"),
            self.question.filter("status"),
            self.window.from_ms,
            self.window.to_ms,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Some panels, made by one function, and what to call them when they are missing."""

    name: str
    make: Callable[[Look], Awaitable[Sequence[Panel]]]
    without: Callable[[Look], Awaitable[Sequence[Panel]]] | None = None
    """What is shown instead while the database cannot be read."""


@dataclass(frozen=True, slots=True)
class Board:
    """A board. `timed` says that it is of a stretch of time, which can be chosen."""

    name: str
    path: str
    lead: str
    parts: tuple[Part, ...]
    filters: tuple[Filter, ...] = ()
    timed: bool = True
    template: str = "board.html"
    """Another one that extends it, when there is more to be said or done than panels hold."""
    drawing: Callable[[Settings, Question], Awaitable[Mapping[str, Any]]] | None = None
    """What such a template shows besides the panels, as it is when the page is loaded; it needs no database."""


async def drawn(board: Board, service: Service, question: Question, now_ms: int, kept: Kept) -> Document:
    """The board as it is now. Raises Invalid for a question that it cannot be asked, and never for a lack of database."""
    window = question.window(now_ms)
    look = Look(service, question, window, now_ms, kept)
    panels: list[Panel] = []
    missed: list[str] = []
    reason = ""
    for part in board.parts:
        try:
            panels += await part.make(look)
        except Unavailable as error:
            missed.append(part.name)
            reason = error.message
            if part.without is not None:
                panels += await part.without(look)
    return Document(board.name, now_ms, window.from_ms, window.to_ms, panels, missing(missed, reason))


def missing(parts: Sequence[str], reason: str) -> str:
    """The one sentence that says what could not be had, and why; empty when everything was."""
    if not parts:
        return ""
    listed = " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
    return f"The database cannot be read just now, so {listed} cannot be shown: {reason}"
