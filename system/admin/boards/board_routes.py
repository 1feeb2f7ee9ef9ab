"""The boards' pages, and the one stream that keeps them live."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

import msgspec
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from system.admin import pages
from system.admin.access import Role
from system.admin.boards.asked import SPANS, Question, question, spelt
from system.admin.boards.board import Board
from system.admin.boards.every import BOARDS, board_named
from system.admin.boards.live import Feeds, Watching, event, names
from system.admin.desk import principal_of
from system.admin.guard import Handler, Routes, rule_of, still_in
from system.edge import LIVE, Stay
from system.errors import Invalid, ServiceError

routes = Routes()

BEAT_S = 2.0
"""A stream that has nothing to tell says so this often."""
LOOK_AGAIN_S = 2.0
"""How often a stream asks whether its watcher may still watch."""
PATIENCE_S = 15.0
"""A watcher that takes nothing for so long has gone."""
LAST_WORD_S = 0.5
"""What is left for the end of a stream when the service ends."""
_UNHELD = {"X-Accel-Buffering": "no"}
"""A proxy that collects an answer before it passes it on would make a live board a late one."""
_RETRY = b"retry: 2000\n\n"


def _feeds(request: Request) -> Feeds:
    found: Feeds = request.app.state.feeds
    return found


def _page_of(board: Board) -> Handler:
    async def page(request: Request) -> Response:
        asked = question(board.filters, request.query_params)
        document = await _feeds(request).document(board, asked)
        if not pages.wanted(request):
            return Response(msgspec.json.encode(document), 200, media_type="application/json")
        drawn = {} if board.drawing is None else await board.drawing(request.app.state.settings, asked)
        return pages.render(
            request,
            board.template,
            **drawn,
            board=board,
            asked=asked,
            document=document,
            spans=SPANS,
            spelt=spelt,
            role=str(getattr(principal_of(request), "role", "")),
        )

    page.__name__ = board.name.lower()
    page.__doc__ = board.lead
    return page


for _board in BOARDS:
    routes.get(_board.path, least=Role.VIEWER, scope="read:boards", board=_board.name, watchable=True)(_page_of(_board))


@routes.get(LIVE, least=Role.VIEWER, scope="read:boards", watchable=True)
async def live(request: Request) -> Response:
    """A board as it changes, until the watcher leaves, may not watch any more, or the service ends."""
    board = board_named(request.query_params.get("board", ""))
    if board is None:
        raise Invalid("parameter-invalid", f"The parameter board: it is one of {names(BOARDS)}.")
    asked: Question = question(board.filters, request.query_params)
    asked.window(time.time_ns() // 1_000_000)
    stay: Stay = request.scope["state"]["stay"]

    async def may_watch() -> bool:
        rule = rule_of(live)
        assert rule is not None
        try:
            return await still_in(request, rule)
        except ServiceError:
            return False

    return Stream(_feeds(request).watch(board, asked), may_watch, stay)


class Stream(StreamingResponse):
    """Server-sent events. It leaves the door as it begins, and ends with the service, however slow its reader is."""

    def __init__(self, watching: Watching, may_watch: Callable[[], Awaitable[bool]], stay: Stay) -> None:
        self._messages = told(watching, may_watch, stay.ending)
        super().__init__(self._messages, 200, _UNHELD, "text/event-stream")
        self._stay = stay

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        self._stay.leave()

        async def sending(message: Message) -> None:
            async with asyncio.timeout(PATIENCE_S):
                await send(message)

        speaking = asyncio.create_task(self.stream_response(sending))
        leaving = asyncio.create_task(_left(receive))
        ending = asyncio.create_task(self._stay.ending.wait())
        try:
            await asyncio.wait((speaking, leaving, ending), return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                await asyncio.wait((speaking,), timeout=LAST_WORD_S)
        finally:
            for task in (speaking, leaving, ending):
                task.cancel()
            await asyncio.gather(speaking, leaving, ending, return_exceptions=True)
            await self._messages.aclose()


async def told(
    watching: Watching, may_watch: Callable[[], Awaitable[bool]], ending: asyncio.Event
) -> AsyncGenerator[bytes]:
    """The messages of one stream."""
    with watching as feed:
        yield _RETRY
        tick, looked = 0, time.monotonic()
        while not ending.is_set():
            following = asyncio.create_task(feed.after(tick))
            over = asyncio.create_task(ending.wait())
            try:
                await asyncio.wait((following, over), timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
                if ending.is_set():
                    return
                if time.monotonic() - looked >= LOOK_AGAIN_S:
                    if not await may_watch():
                        yield event(b"{}", "over")
                        return
                    looked = time.monotonic()
                if following.done():
                    tick, message = following.result()
                    yield event(message)
                else:
                    yield b": nothing new\n\n"
            finally:
                following.cancel()
                over.cancel()


async def _left(receive: Receive) -> None:
    """Returns once the browser has closed the connection."""
    with contextlib.suppress(Exception):
        while (await receive())["type"] != "http.disconnect":
            pass
