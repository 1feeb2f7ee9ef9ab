"""The boards in a real Chromium: drawn without a complaint, live, honest when they are not, and nobody is kept out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.system.admin.browsing import IN_A_BROWSER, SCHEMES, Scheme, Served, Visit, barriers, faint, shot
from tests.system.admin.gym_day import GROUPS, Day, plant

BOARDS = ("system", "matches", "users", "notifications", "errors")
FRESH_MS = 2_000
"""From what happens until a page shows it."""
SHOWN = """(() => {
  const { outlineStyle, boxShadow } = getComputedStyle(document.activeElement);
  return [document.activeElement.tagName, outlineStyle, boxShadow];
})()"""
"""How the stop is shown; a field for an instant has stops within, and a ring around all of them."""

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def gym(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with something on every board."""
    service = Served(tmp_path_factory.mktemp("gym"))
    plant(service.database)
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def day(gym: Served) -> Day:
    day = Day(gym.url)
    day.play()
    return day


@pytest.fixture
def visits(browser: Browser) -> Iterator[list[Visit]]:
    made: list[Visit] = []
    yield made
    for visit in made:
        visit.context.close()


def come(browser: Browser, service: Served, visits: list[Visit], scheme: Scheme = "light") -> Visit:
    """Somebody who has logged in."""
    visits.append(Visit(browser, service.url, scheme))
    visits[-1].log_in()
    return visits[-1]


def live(page: Page) -> None:
    """Returns once the page is."""
    expect(page.locator("#live")).to_have_text("live", timeout=15_000)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_board_is_drawn_without_a_complaint_and_asks_nobody_else(
    browser: Browser, gym: Served, day: Day, visits: list[Visit], scheme: Scheme
) -> None:
    visit = come(browser, gym, visits, scheme)
    page = visit.page
    for board in BOARDS:
        page.goto(f"{gym.url}/admin/{board}")
        live(page)
        assert page.locator("nav a[aria-current=page]").inner_text().lower() == board
        assert page.locator("canvas").count() == page.locator("[data-kind=chart]").count() > 0, board
        assert page.locator("#missing").is_hidden(), board
        for width in (400, 800, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (board, width)
            shot(page, f"{board}-{scheme}-{width}") if width != 800 else None
        assert faint(page) == [], board
        assert barriers(page) == [], board
    assert visit.complaints == []
    assert {re.match(r"\w+://[^/]+", url)[0] for url in visit.requests} == {gym.url}  # type: ignore[index]


def test_a_barrier_would_be_found(browser: Browser, gym: Served, visits: list[Visit]) -> None:
    """Shows that the scan above bites."""
    page = come(browser, gym, visits).page
    page.goto(f"{gym.url}/admin/errors")
    page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    assert [one.partition(":")[0] for one in barriers(page)] == ["label"]


def test_a_match_that_ends_is_on_the_board_within_two_seconds(
    browser: Browser, gym: Served, day: Day, visits: list[Visit]
) -> None:
    page = come(browser, gym, visits).page
    page.goto(f"{gym.url}/admin/matches")
    live(page)
    before = page.locator("#panel-latest tbody tr").count()
    day.close(day.match)
    expect(page.locator("#panel-latest tbody tr")).to_have_count(before + 1, timeout=FRESH_MS)
    day.match = day.pair()


def test_a_request_moves_the_figures_within_two_seconds(browser: Browser, gym: Served, visits: list[Visit]) -> None:
    visit = come(browser, gym, visits)
    visit.page.goto(f"{gym.url}/admin/system")
    live(visit.page)
    answered = visit.page.locator("#panel-now dd.note", has_text="since the begin").first
    before = answered.inner_text()
    other = visit.context.request.get(f"{gym.url}/tournaments")
    assert other.status == 401
    expect(answered).not_to_have_text(before, timeout=FRESH_MS)


def test_a_page_that_is_told_nothing_says_so_and_recovers_by_itself(
    browser: Browser, visits: list[Visit], tmp_path: Path
) -> None:
    service = Served(tmp_path)
    service.start()
    try:
        page = come(browser, service, visits).page
        page.goto(f"{service.url}/admin/system")
        live(page)
        service.stop()
        expect(page.locator("#live")).to_have_text("stale", timeout=10_000)
        assert re.fullmatch(r"as of \d\d:\d\d:\d\d", page.locator(".as-of span").last.inner_text())
        stood = page.locator("#as-of").inner_text()
        shot(page, "system-stale")
        service.start()
        live(page)
        assert page.locator("#as-of").inner_text() > stood
    finally:
        service.stop()


def test_filters_stand_in_the_address_and_work_by_keyboard(
    browser: Browser, gym: Served, day: Day, visits: list[Visit]
) -> None:
    visit = come(browser, gym, visits)
    page = visit.page
    page.goto(f"{gym.url}/admin/errors")
    page.get_by_label("Error", exact=True).focus()
    page.keyboard.type("Unavailable")
    page.keyboard.press("Tab")
    page.keyboard.type("5")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"kind=Unavailable.*status=5xx"))
    kinds = set(page.locator("#panel-groups tbody th a").all_inner_texts())
    assert kinds == {"Unavailable"}
    assert page.get_by_label("Error", exact=True).input_value() == "Unavailable"
    page.locator(".spans a", has_text="6h").press("Enter")
    page.wait_for_url(re.compile(r"span=6h&kind=Unavailable&status=5xx"))
    assert page.locator(".spans a[aria-current]").inner_text() == "6h"
    live(page)
    assert set(page.locator("#panel-groups tbody th a").all_inner_texts()) == {"Unavailable"}
    page.get_by_role("link", name="Reset").press("Enter")
    page.get_by_role("link", name="Older").press("Enter")
    page.get_by_role("link", name="Newest").wait_for()
    assert page.locator("#panel-groups tbody tr").count() == GROUPS - 50
    assert page.locator("#live").inner_text() == "as loaded", "what was looked up further back does not move"
    assert visit.complaints == []


def test_every_stop_of_the_keyboard_can_be_seen(browser: Browser, gym: Served, visits: list[Visit]) -> None:
    page = come(browser, gym, visits).page
    page.goto(f"{gym.url}/admin/system")
    live(page)
    stops = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name, outline, shadow = page.evaluate(SHOWN)
        if name == "BODY":
            break
        stops.append(name)
        assert outline == "solid" or shadow != "none", (name, stops)
    assert {"A", "INPUT", "BUTTON", "SUMMARY", "DIV"} <= set(stops)
    page.locator("#panel-requests summary").press("Enter")
    assert page.locator("#panel-requests table").is_visible()


def test_a_board_is_readable_without_scripts(browser: Browser, gym: Served, day: Day, visits: list[Visit]) -> None:
    visit = come(browser, gym, visits)
    plain = browser.new_context(java_script_enabled=False, storage_state=visit.context.storage_state())
    page = plain.new_page()
    page.goto(f"{gym.url}/admin/system")
    assert page.locator("#live").inner_text() == "as loaded"
    page.locator("#panel-requests summary").click()
    assert 57 <= page.locator("#panel-requests tbody tr").count() <= 60
    assert page.locator("#panel-kinds tbody tr").count() >= 3
    page.goto(f"{gym.url}/admin/matches")
    assert page.locator("#panel-standings tbody th").first.inner_text() == "ada"
    plain.close()


def test_a_session_that_is_ended_watches_no_longer(browser: Browser, gym: Served, visits: list[Visit]) -> None:
    watching, ending = come(browser, gym, visits), come(browser, gym, visits)
    watching.page.goto(f"{gym.url}/admin/system")
    live(watching.page)
    ending.page.goto(f"{gym.url}/admin/sessions")
    ending.page.get_by_role("button", name="End every other session of mine").click()
    expect(watching.page.locator("#live")).to_have_text("log in again", timeout=8_000)


def test_the_service_is_watched_while_its_database_is_gone(
    browser: Browser, visits: list[Visit], tmp_path: Path
) -> None:
    service = Served(tmp_path)
    service.start()
    try:
        page = come(browser, service, visits).page
        page.goto(f"{service.url}/admin/system")
        live(page)
        service.path.unlink()
        expect(page.locator("#missing")).to_contain_text("The database cannot be read just now", timeout=10_000)
        expect(page.locator("#panel-requests .about")).to_contain_text("From memory", timeout=10_000)
        expect(page.locator("#panel-now dd .mark").first).to_have_text("fail", timeout=5_000)
        page.goto(f"{service.url}/admin/system")
        live(page)
        sentence = page.locator("#missing").inner_text()
        assert sentence.startswith(
            "The database cannot be read just now, so the requests of the time chosen, the kinds of request and the "
            "history of its health cannot be shown: "
        )
        assert page.locator("canvas").count() == 6
        shot(page, "system-without-database")
        assert barriers(page) == []
        page.goto(f"{service.url}/admin/matches")
        assert page.locator("#missing").is_visible()
        page.goto(f"{service.url}/admin/sessions")
        assert page.locator("h1").inner_text() == "That did not work", "what only the database knows is not made up"
    finally:
        service.stop()
