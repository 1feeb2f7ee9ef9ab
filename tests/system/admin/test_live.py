"""Boards that go on: drawn once for all who watch, told whole and then what changed, and ended by what should end them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from system.admin.boards import live
from system.admin.boards.asked import Question
from system.admin.boards.board import Board, Look, Part, Service
from system.admin.boards.live import Feeds
from system.admin.boards.panels import Figure, Figures, Panel
from system.errors import Unavailable
from system.metrics import REGISTRY
from tests.system.admin.visitors import account, machine, signed_in, stamp
from tests.system.admin.watchers import Watcher
from tests.system.front import Front

SYSTEM = "/admin/live?board=System"
NOBODY = cast(Service, None)
"""The boards here look at nothing."""


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    """A service with a place for one request of the admin part at a time."""
    with Front(tmp_path, f"sqlite:///{tmp_path / 'gym.db'}", request_places=2, trusted_proxies="127.0.0.1") as front:
        stamp(front)
        account(front, "admin")
        yield front


def test_a_stream_tells_everything_and_then_what_changed(front: Front) -> None:
    watcher = Watcher(front, machine(front, ["read:boards"])[0], SYSTEM)
    front.until(lambda: len(watcher.told()) >= 3)
    first, *later = watcher.told()
    assert watcher.status == 200
    assert watcher.text.startswith("retry: ")
    assert [panel["id"] for panel in first["panels"]] == first["ids"]
    assert {"now", "requests", "health"} <= set(first["ids"])
    assert all(len(told["panels"]) < len(first["panels"]) for told in later), "what stands still is not told again"
    assert [told["as_of_ms"] for told in watcher.told()] == sorted(told["as_of_ms"] for told in watcher.told())
    watcher.close()


def test_a_stream_holds_no_place_of_others_and_counts_as_answered_when_it_begins(front: Front) -> None:
    bot = machine(front, ["read:boards"])[0]
    watchers = [Watcher(front, bot, SYSTEM) for _ in range(1)]
    front.until(lambda: bool(watchers[0].told()))
    watchers += [Watcher(front, bot, SYSTEM)]
    front.until(lambda: bool(watchers[1].told()))
    assert bot.get("/admin/system").status_code == 200, "the one place that there is is free"
    front.until(lambda: len(watchers[0].told()) >= 3)
    before = took_s()
    for watcher in watchers:
        watcher.close()
    assert took_s() - before < live.EVERY_S, "how long somebody watched is not how long the service took"
    assert bot.get("/admin/system").status_code == 200, "it is not given back twice"


def took_s() -> float:
    return REGISTRY.get_sample_value("gymkhana_request_seconds_sum", {"route": "/admin/live"}) or 0.0


def test_streams_end_when_the_service_does_however_slow_their_readers_are(front: Front) -> None:
    bot = machine(front, ["read:boards"])[0]
    reading = Watcher(front, bot, SYSTEM)
    front.until(lambda: bool(reading.told()))
    stalled = Watcher(front, bot, SYSTEM)
    front.until(lambda: bool(stalled.told()))
    stalled.stall()
    assert front.run(front.edge.drain(5.0)), "everything was answered in time"
    assert reading.ended
    assert stalled.ended
    assert not len(front.app.state.feeds)


def test_a_session_that_is_ended_ends_its_streams(front: Front) -> None:
    name = account(front, "viewer")
    mine, other = signed_in(front, name), signed_in(front, name)
    watcher = Watcher(front, mine, SYSTEM)
    front.until(lambda: bool(watcher.told()))
    assert other.post("/admin/sessions/others/revoke").status_code == 303
    front.until(lambda: watcher.ended)
    assert watcher.events()[-1][0] == "over"


def test_a_stalled_reader_is_told_where_things_are_and_not_where_they_were(front: Front) -> None:
    bot = machine(front, ["read:boards"])[0]
    free, stalled = Watcher(front, bot, SYSTEM), None
    front.until(lambda: bool(free.told()))
    stalled = Watcher(front, bot, SYSTEM)
    front.until(lambda: bool(stalled.told()))
    stalled.stall()
    begun, seen = len(stalled.told()), len(free.told())
    front.until(lambda: len(free.told()) >= seen + 4)
    front.run(stalled._switch(flowing=True))
    front.until(lambda: len(stalled.told()) >= begun + 2)
    assert stalled.told()[begun + 1]["as_of_ms"] >= free.told()[seen + 3]["as_of_ms"]
    assert len(front.app.state.feeds) == 2
    free.close()
    stalled.close()
    assert front.app.state.feeds.questions == 0, "nothing is drawn for nobody"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("board=Nothing", "it is one of System"),
        ("board=System&span=2h", "it is one of 1h"),
        ("board=Notifications&user=x", "write a number"),
        ("board=System&from=now", "write an instant"),
    ],
)
def test_a_stream_of_nothing_is_refused(front: Front, query: str, told: str) -> None:
    response = machine(front, ["read:boards"])[0].get(f"/admin/live?{query}")
    assert response.status_code == 400
    assert told in response.json()["detail"]


class Counted:
    """A board that counts how often it was drawn."""

    def __init__(self, text: Callable[[int], str] = str) -> None:
        self.drawn = 0
        self._text = text
        self.board = Board("Counted", "/admin/counted", "", (Part("it", self._make),))

    async def _make(self, _: Look) -> Sequence[Panel]:
        self.drawn += 1
        await asyncio.sleep(0)
        return [Figures("moving", "", [Figure("", self._text(self.drawn))]), Figures("still", "", [])]


def test_it_is_drawn_once_however_many_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY_S", 0.1)
    counted, feeds = Counted(), Feeds(NOBODY)

    async def watch() -> list[int]:
        seen: list[int] = []
        tick = 0
        with feeds.watch(counted.board, Question()) as feed:
            while len(seen) < 5:
                tick, _ = await feed.after(tick)
                seen.append(tick)
        return seen

    async def story() -> list[list[int]]:
        return await asyncio.gather(*(watch() for _ in range(100)))

    assert asyncio.run(story()) == [[1, 2, 3, 4, 5]] * 100
    assert counted.drawn == 5


def test_a_message_has_what_changed_since_the_tick_that_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY_S", 0.0)
    counted, feeds = Counted(lambda number: "early" if number < 3 else "late"), Feeds(NOBODY)

    async def story() -> list[bytes]:
        with feeds.watch(counted.board, Question()) as feed:
            told = [(await feed.after(0))[1]]
            told.append((await feed.after(1))[1])
            tick, _ = await feed.after(4)
            return [*told, (await feed.after(2))[1], (await feed.after(tick))[1]]

    whole, same, late, still = asyncio.run(story())
    assert b'"moving"' in ids_of(whole)
    assert b'"still"' in panels_of(whole)
    assert panels_of(same) == b"[]"
    assert b"late" in panels_of(late)
    assert b'"still"' not in panels_of(late)
    assert panels_of(still) == b"[]"


def panels_of(message: bytes) -> bytes:
    return message.partition(b'"panels":')[2].removesuffix(b"}")


def ids_of(message: bytes) -> bytes:
    return message.partition(b'"panels":')[0]


def test_a_board_that_breaks_is_drawn_again_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY_S", 0.0)

    def text(number: int) -> str:
        if number < 3:
            raise RuntimeError("broken")
        return "mended"

    broken, feeds = Counted(text), Feeds(NOBODY)

    async def story() -> bytes:
        with feeds.watch(broken.board, Question()) as feed:
            return (await feed.after(0))[1]

    assert b"mended" in asyncio.run(story())


def test_there_is_a_bound_to_what_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "QUESTIONS", 2)
    monkeypatch.setattr(live, "WATCHERS", 3)
    board, feeds = Counted().board, Feeds(NOBODY)

    async def story() -> None:
        with feeds.watch(board, Question("1h")), feeds.watch(board, Question("6h")):
            with pytest.raises(Unavailable, match="Too many"):
                feeds.watch(board, Question("24h"))
            with feeds.watch(board, Question("1h")):
                with pytest.raises(Unavailable, match="Too many"):
                    feeds.watch(board, Question("1h"))
        assert feeds.questions == 0

    asyncio.run(story())


def test_a_board_that_is_watched_is_not_drawn_anew_for_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY_S", 60.0)
    counted, feeds = Counted(), Feeds(NOBODY)

    async def story() -> Any:
        with feeds.watch(counted.board, Question()) as feed:
            await feed.after(0)
            return [await feeds.document(counted.board, Question()) for _ in range(3)]

    assert len(asyncio.run(story())) == 3
    assert counted.drawn == 1
