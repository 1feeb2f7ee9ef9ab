"""Boards that go on: each question is answered once a second in a process, however many look, and nobody can slow it down.

    watchers ── read the newest ── Feed ── drawn once a second, while anybody watches ── Board

A watcher holds nothing but the number of the tick that it saw last. Whoever is slow misses ticks, and is told at the next
what has changed since that one; there is no queue to grow. Each message has the panels that changed, so a quiet board costs
little.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import structlog

from system.admin.boards.asked import Question
from system.admin.boards.board import Board, Kept, Service, drawn
from system.admin.boards.panels import Document
from system.errors import Unavailable
from system.jobs import now_ms

EVERY_S = 0.8
QUESTIONS = 16
"""Different boards, spans and filters that are watched in one process at once."""
WATCHERS = 200
"""Streams of one process at once."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Fresh:
    """A panel as it is sent, and the tick at which it changed last."""

    tick: int
    content: bytes


class Feed:
    """The answers to one question, for as long as somebody watches."""

    def __init__(self, board: Board, service: Service, question: Question) -> None:
        self.board = board
        self.question = question
        self._service = service
        self._kept = Kept()
        self._panels: dict[str, Fresh] = {}
        self._head = b""
        self._tick = 0
        self._turned = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.watchers = 0
        self.document: Document | None = None
        self.made = 0.0

    def enter(self) -> None:
        """One more watches."""
        self.watchers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"board {self.board.name}")

    def leave(self) -> None:
        """One less; nothing is drawn for nobody."""
        self.watchers -= 1
        if self.watchers == 0 and self._task is not None:
            self._task.cancel()
            self._task = None

    async def draw(self) -> Document:
        """The board as it is at this moment."""
        return await drawn(self.board, self._service, self.question, now_ms(), self._kept)

    async def after(self, tick: int) -> tuple[int, bytes]:
        """The newest tick later than that one, and what has changed since; all of it for tick 0."""
        while self._tick <= tick:
            await self._turned.wait()
        changed = b",".join(one.content for one in self._panels.values() if one.tick > tick)
        return self._tick, self._head + b',"panels":[' + changed + b"]}"

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                self._take(await self.draw())
            except Exception as error:  # the stream's outermost line: the page says that it stands still, the log why
                log.error("a board could not be drawn", board=self.board.name, error=repr(error), exc_info=error)
            await asyncio.sleep(max(0.05, EVERY_S - (time.monotonic() - began)))

    def _take(self, document: Document) -> None:
        self._tick += 1
        self.document, self.made = document, time.monotonic()
        panels = {}
        for panel in document.panels:
            content = msgspec.json.encode(panel)
            before = self._panels.get(panel.id)
            same = before is not None and before.content == content
            panels[panel.id] = before if before is not None and same else Fresh(self._tick, content)
        self._panels = panels
        told = {
            "board": document.board,
            "as_of_ms": document.as_of_ms,
            "missing": document.missing,
            "ids": list(panels),
        }
        self._head = msgspec.json.encode(told)[:-1]
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()


class Feeds:
    """Every feed of one process."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._feeds: dict[tuple[str, Question], Feed] = {}

    def __len__(self) -> int:
        return sum(feed.watchers for feed in self._feeds.values())

    @property
    def questions(self) -> int:
        """How many different ones are watched."""
        return len(self._feeds)

    def watch(self, board: Board, question: Question) -> Watching:
        """A watcher's place at that question, for who enters it. Raises Unavailable when too much is watched already."""
        known = (board.name, question) in self._feeds
        if len(self) >= WATCHERS or (not known and len(self._feeds) >= QUESTIONS):
            raise Unavailable(
                "too-many-watch", "Too many boards are being watched already; close some.", retry_after_s=5
            )
        return Watching(self, board, question)

    def feed(self, board: Board, question: Question) -> Feed:
        """The one feed of that question."""
        return self._feeds.setdefault((board.name, question), Feed(board, self._service, question))

    async def document(self, board: Board, question: Question) -> Document:
        """The board at this moment; one that is watched was drawn within the second."""
        feed = self._feeds.get((board.name, question))
        if feed is not None and feed.document is not None and time.monotonic() - feed.made <= EVERY_S:
            return feed.document
        return await Feed(board, self._service, question).draw()

    def forget(self, feed: Feed) -> None:
        """Nobody watches it any more."""
        self._feeds.pop((feed.board.name, feed.question), None)


class Watching(contextlib.AbstractContextManager[Feed]):
    """One watcher's time with the feed of a question."""

    def __init__(self, feeds: Feeds, board: Board, question: Question) -> None:
        self._feeds = feeds
        self._asked = (board, question)
        self._feed: Feed | None = None

    def __enter__(self) -> Feed:
        self._feed = self._feeds.feed(*self._asked)
        self._feed.enter()
        return self._feed

    def __exit__(self, *_: object) -> None:
        assert self._feed is not None
        self._feed.leave()
        if self._feed.watchers == 0:
            self._feeds.forget(self._feed)


def event(content: bytes, name: str = "") -> bytes:
    """A message as the browser's EventSource reads it."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + content + b"\n\n"


def names(boards: Sequence[Board]) -> str:
    """The boards' names, as a sentence lists them."""
    return ", ".join(board.name for board in boards)
