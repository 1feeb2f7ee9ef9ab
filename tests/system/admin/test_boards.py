"""What boards show and to whom: from the database, or from memory when there is none; and the arithmetic of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from sqlalchemy import insert

from system.admin.access import NOBODY, Person, Principal, Role
from system.admin.boards import board as board_
from system.admin.boards import sums as summed
from system.admin.boards.asked import Filter, Question, Window, question
from system.admin.boards.board import Board, Kept, Look, Part, Service, drawn, missing
from system.admin.boards.every import BOARDS
from system.admin.boards.panels import Figures, Panel, number
from system.admin.boards.recent import Reading, between, reading
from system.admin.remembered import LASTING_MS, PLACES, Remembered
from system.database import Base, engine_for
from system.errors import Invalid, Unavailable
from system.reporting.record_models import BUCKETS_MS
from system.reporting.rollups import events, requests
from tests.system.admin.gym_day import GROUPS, plant
from tests.system.admin.visitors import Browser, account, change, machine, marks, signed_in, stamp
from tests.system.front import Front

ANN = Person(1, "ann", Role.VIEWER, 7)
MINUTE = 60_000


@pytest.fixture(scope="module")
def planted(house: Front) -> Front:
    plant(house.config.database_url)
    return house


@pytest.mark.parametrize("board", [board.name.lower() for board in BOARDS])
def test_every_board_answers_people_and_machines_on_every_engine(planted: Front, board: str) -> None:
    told = machine(planted, ["read:boards"])[0].get(f"/admin/{board}?span=6h").json()
    assert told["missing"] == ""
    assert all(panel["title"] for panel in told["panels"])
    page = signed_in(planted, account(planted, "viewer")).get(f"/admin/{board}?span=6h")
    assert page.status_code == 200
    assert all(f'id="panel-{panel["id"]}"' in page.text for panel in told["panels"])
    assert "<b>" not in "".join(row for row in page.text.splitlines() if "database is locked" in row), "texts are texts"


def test_sums_over_a_day_and_a_week_are_those_of_their_minutes_and_hours(planted: Front) -> None:
    bot = machine(planted, ["read:boards"])[0]
    day = {panel["id"]: panel for panel in bot.get("/admin/system?span=24h").json()["panels"]}
    assert len(day["requests"]["at"]) in (96, 97)
    assert sum(day["requests"]["series"][0]["values"]) > 0
    week = {panel["id"]: panel for panel in bot.get("/admin/system?span=7d").json()["panels"]}
    assert len(week["requests"]["at"]) in (168, 169)


def test_a_listing_goes_on_where_it_ended_with_its_filters(planted: Front) -> None:
    bot = machine(planted, ["read:boards"])[0]
    seen: list[str] = []
    where = "/admin/errors?span=6h&status=5xx"
    while where:
        (groups,) = [panel for panel in bot.get(where).json()["panels"] if panel["id"] == "groups"]
        seen += [row[-1]["text"] for row in groups["rows"]]
        assert not groups["older"] or "status=5xx&after=" in groups["older"]
        where = f"/admin/errors{groups['older']}" if groups["older"] else ""
    planted_ones = [one for one in seen if int(one, 16) < GROUPS]
    assert len(planted_ones) == len(set(planted_ones)) == GROUPS, "more than a page, none twice"


@pytest.mark.parametrize(
    "query", ["span=2h", "from=yesterday", "from=2026-11-24T00:00&to=2026-11-23T00:00", "from=2001-01-01", "status=9xx"]
)
def test_what_cannot_be_shown_is_refused_with_its_name(house: Front, query: str) -> None:
    response = machine(house, ["read:boards"])[0].get(f"/admin/errors?{query}")
    assert response.status_code == 400
    assert "The parameter" in response.json()["detail"]
    assert signed_in(house, account(house, "viewer")).get(f"/admin/errors?{query}").status_code == 400


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    """A service that may lose its database."""
    with Front(tmp_path, f"sqlite:///{tmp_path / 'gym.db'}", trusted_proxies="127.0.0.1") as front:
        stamp(front)
        account(front, "admin")
        yield front


def test_whoever_was_in_watches_on_without_a_database_and_nobody_else(front: Front) -> None:
    viewer, stranger = signed_in(front, account(front, "viewer")), signed_in(front, account(front, "viewer"))
    bot, _ = machine(front, ["read:boards"])
    assert viewer.get("/admin/system").status_code == 200
    assert bot.get("/admin/live?board=Nothing").status_code == 400
    front.app.state.lanes.fence("The database file is gone.")
    page = viewer.get("/admin/system")
    assert page.status_code == 200
    assert "The database cannot be read just now, so the requests of the time chosen" in marks(page.text)
    assert "From memory: the last hour at most." in page.text
    assert bot.get("/admin/errors").json()["missing"].startswith("The database cannot be read just now, so how many")
    assert stranger.get("/admin/system").status_code == 503, "nobody can say who that is"
    assert Browser(front).get("/admin/system").status_code == 303
    assert viewer.get("/admin/sessions").status_code == 503, "what only the database knows is not made up"
    assert viewer.post("/admin/log-out").status_code == 503


def test_whoever_was_shut_out_before_is_not_remembered(front: Front) -> None:
    viewer = signed_in(front, account(front, "viewer"))
    assert viewer.get("/admin/system").status_code == 200
    remembered = front.app.state.admin.remembered
    assert len(remembered) == 1
    change(front, "UPDATE admin_sessions SET revoked_ms = 1 WHERE revoked_ms IS NULL")
    front.until(lambda: len(remembered) == 0)
    front.app.state.lanes.fence("The database file is gone.")
    assert viewer.get("/admin/system").status_code == 503


def test_remembering_has_an_end_and_a_bound() -> None:
    remembered = Remembered()
    remembered.note("session a", ANN, 1_000)
    assert remembered.principal("session a", 1_000 + LASTING_MS) == ANN
    assert remembered.principal("session a", 1_001 + LASTING_MS) is NOBODY
    assert remembered.principal("session b", 1_000) is NOBODY
    remembered.note("session a", NOBODY, 1_001)
    assert len(remembered) == 0
    for number_ in range(PLACES + 5):
        remembered.note(f"session {number_}", ANN, 1_000)
    assert len(remembered) == PLACES
    assert remembered.principal("session 4", 1_000) is NOBODY


def test_looking_again_forgets_whom_it_does_not_find_and_keeps_all_when_it_cannot_look() -> None:
    remembered = Remembered()
    for shown in ("in", "out"):
        remembered.note(shown, ANN, 1)

    async def away(_shown: str, _now: int) -> Principal:
        raise Unavailable("database-fenced", "gone")

    async def found(shown: str, _now: int) -> Principal:
        return ANN if shown == "in" else NOBODY

    asyncio.run(remembered.look_again(away, 2))
    assert len(remembered) == 2
    asyncio.run(remembered.look_again(found, LASTING_MS))
    assert remembered.principal("in", LASTING_MS + 1) == ANN
    assert remembered.principal("out", 2) is NOBODY


class Silent:
    """Lanes into a database that never answers."""

    asked = 0

    async def long_read(self, *_: Any) -> None:
        self.asked += 1
        await asyncio.Event().wait()


def test_a_database_that_never_answers_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_, "READ_S", 0.01)
    lanes = Silent()

    async def reading_part(look: Look) -> list[Panel]:
        return [await look.read(lambda _: Figures("read", "", []))]

    async def from_memory(_: Look) -> list[Panel]:
        return [Figures("memory", "", [])]

    parts = (Part("this", reading_part), Part("that", reading_part, from_memory), Part("the rest", from_memory))
    service = Service(lanes, *(None,) * 4)  # type: ignore[arg-type]
    document = asyncio.run(drawn(Board("X", "/x", "", parts), service, Question(), 10**12, Kept()))
    assert [panel.id for panel in document.panels] == ["memory", "memory"]
    assert document.missing.endswith("so this and that cannot be shown: The database did not answer in time.")
    assert lanes.asked == 1


FILTERS = (Filter("kind", "Kind"), Filter("status", "Status", ("4xx", "5xx")), Filter("user", "User", kind="number"))


def test_a_question_is_read_from_an_address_and_written_back() -> None:
    asked = question(FILTERS, {"span": "6h", "kind": " x ", "status": "", "user": "7", "other": "1"})
    assert asked == Question("6h", filters=(("kind", "x"), ("user", "7")))
    assert asked.query() == "span=6h&kind=x&user=7"
    assert asked.query(span="7d", after="c") == "span=7d&kind=x&user=7&after=c"
    assert asked.choosing("kind", "y").query() == "span=6h&user=7&kind=y"
    assert asked.window(10**12 + 1) == Window(10**12 + 1000 - 6 * 3_600_000, 10**12 + 1000, 300)
    fixed = question(FILTERS, {"from": "2026-11-23T09:00", "to": "2026-11-23T11:00+01:00"})
    assert not fixed.moving
    assert fixed.query() == "from=2026-11-23T09%3A00%3A00&to=2026-11-23T10%3A00%3A00"
    assert fixed.pinned(fixed.window(0)) == fixed


@pytest.mark.parametrize(
    "given", [{"user": "0"}, {"user": "²"}, {"user": str(2**63)}, {"kind": "a\nb"}, {"kind": "a" * 121}]
)
def test_a_filter_takes_what_it_can_find(given: dict[str, str]) -> None:
    with pytest.raises(Invalid, match=next(iter(given))):
        question(FILTERS, given)


def test_what_is_missing_is_one_sentence() -> None:
    assert missing([], "") == ""
    assert missing(["a"], "Gone.") == "The database cannot be read just now, so a cannot be shown: Gone."
    assert "so a, b and c cannot" in missing(["a", "b", "c"], "Gone.")


def test_figures_are_read_off_the_metrics_without_what_looks_at_them() -> None:
    registry = CollectorRegistry()
    counter = Counter("gymkhana_requests", "", ("method", "route", "status"), registry=registry)
    for route, status, count in (
        ("/users", "201", 7),
        ("/users", "409", 2),
        ("/users", "503", 1),
        ("/metrics", "200", 50),
    ):
        counter.labels("GET", route, status).inc(count)
    took = Histogram("gymkhana_request_seconds", "", ("route",), buckets=(0.01, 0.1), registry=registry)
    for seconds in (0.005, 0.005, 0.05, 0.05):
        took.labels("/users").observe(seconds)
    now = reading(registry.collect(), 10.0)
    assert (now.requests, now.refused, now.failed) == (10, 2, 1)
    done = between(Reading(0.0), now)
    assert done.per_second(done.requests) == 1.0
    assert done.share_failed() == 10.0
    assert done.took_ms(0.5) == pytest.approx(10.0)
    assert done.took_ms(0.75) == pytest.approx(55.0)


def test_a_process_that_began_anew_has_not_answered_less_than_nothing() -> None:
    done = between(Reading(0.0, requests=100.0, took={1.0: 5.0}), Reading(5.0, requests=3.0, took={1.0: 1.0}))
    assert (done.requests, done.took_ms(0.5), done.share_failed()) == (0.0, None, None)


def sums_row(at: int, count: int, **more: int) -> dict[str, Any]:
    within = dict.fromkeys((f"within_{bound}_ms" for bound in BUCKETS_MS), 0)
    row = {"width_s": 60, "start_ms": at, "kind": "x", "requests": count, "refused": 0, "failed": 0, "took_us": 0}
    return row | within | more


def test_sums_are_laid_out_over_every_step_and_the_one_under_way_is_left_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sums.db'}"
    engine = engine_for(url, writer=True, pooled=False)
    Base.metadata.create_all(engine)
    begin = 1_000_000 * MINUTE
    with engine.begin() as connection:
        rows = [
            sums_row(begin, 60, failed=6, within_5_ms=30, within_10_ms=30),
            sums_row(begin + 2 * MINUTE, 120, within_5_ms=119),
            sums_row(begin + 3 * MINUTE, 999),
        ]
        connection.execute(insert(requests), rows)
        counted = {"width_s": 60, "start_ms": begin, "name": "minutes.counted", "happened": 1, "amount": 0}
        connection.execute(insert(events), [counted, counted | {"name": "points.moved", "happened": 2, "amount": 30}])
        found = summed.sums(connection, Window(begin, begin + 3 * MINUTE + 9_000, 60), begin + 3 * MINUTE + 9_000)
    engine.dispose()
    assert found.at == [begin // 1000, begin // 1000 + 60, begin // 1000 + 120]
    assert found.per_second("requests") == [1.0, 0.0, 2.0]
    assert found.per_step(summed.share_failed) == [10.0, None, 0.0]
    assert found.per_step(summed.took_ms(0.5)) == [5.0, None, pytest.approx(5 * 60 / 119)]
    assert found.per_step(summed.took_ms(1.0))[2] == 1000.0, "beyond the last bucket is told as its bound"
    assert found.happened("points.moved") == [2.0, None, None], "what nobody counted is not nothing"
    assert found.happened("users.signed-up") == [0.0, None, None]
    assert (found.total("points.moved"), found.total_amount("points.moved")) == (2, 30)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (1234567, "1,234,567"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
    ],
)
def test_a_number_has_as_many_digits_as_are_worth_reading(value: float | None, text: str) -> None:
    assert number(value) == text
