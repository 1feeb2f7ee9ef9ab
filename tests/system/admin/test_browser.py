"""The pages in a real Chromium, by keyboard alone: nothing from elsewhere, no complaint, both schemes, any width."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.system.admin.browsing import IN_A_BROWSER, PASSWORD, SCHEMES, Scheme, Served, Visit, barriers, faint

PAGES = ("", "/sessions", "/password", "/accounts", "/tokens", "/audit")

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with one admin, ada."""
    service = Served(tmp_path_factory.mktemp("served"))
    service.start()
    yield service.url
    service.stop()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_page_opens_without_a_complaint_and_asks_nobody_else(
    browser: Browser, served: str, scheme: Scheme
) -> None:
    visit = Visit(browser, served, scheme)
    visit.log_in()
    grounds = set()
    for path in PAGES:
        visit.page.goto(f"{served}/admin{path}")
        assert visit.page.locator("h1").count() == 1
        grounds.add(visit.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for width in (1280, 800, 400):
            visit.page.set_viewport_size({"width": width, "height": 900})
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
        assert faint(visit.page) == [], path
        assert barriers(visit.page) == [], path
    assert grounds == {"rgb(245, 246, 248)" if scheme == "light" else "rgb(14, 17, 22)"}
    assert visit.complaints == []
    assert {re.match(r"\w+://[^/]+", url)[0] for url in visit.requests} == {served}  # type: ignore[index]
    visit.context.close()


def test_the_policy_bites(browser: Browser, served: str) -> None:
    """Shows that a complaint would have been seen: a script that somebody plants does not run."""
    visit = Visit(browser, served, "light")
    visit.page.goto(f"{served}/admin/log-in")
    visit.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title=1'}))"
    )
    assert visit.page.title() == "Log in · Gymkhana"
    assert any("Content Security Policy" in complaint for complaint in visit.complaints)
    visit.context.close()


def test_a_days_work_by_keyboard(browser: Browser, served: str) -> None:
    """An account and a token are made, a session is ended, and after the log-out the way back shows nothing."""
    visit = Visit(browser, served, "light")
    visit.log_in()
    page = visit.page
    page.goto(f"{served}/admin/accounts")
    page.get_by_label("Name", exact=False).last.focus()
    page.keyboard.type("otto")
    page.keyboard.press("Tab")
    page.keyboard.press("o")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_text("The account was made.").wait_for()
    assert page.get_by_label("Role of otto", exact=True).input_value() == "operator"
    page.goto(f"{served}/admin/tokens")
    page.get_by_label("What it is for").fill("exporter")
    page.get_by_label("read:records").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("It is shown this once").wait_for()
    assert re.fullmatch(r"gymadm_[\w-]{43}", page.locator(".said code").inner_text())
    page.goto(f"{served}/admin/audit")
    assert page.locator("tbody tr").first.inner_text().count("token.created") == 1
    page.get_by_role("button", name="Log out").press("Enter")
    page.wait_for_url(f"{served}/admin/log-in")
    page.go_back()
    assert page.locator("tbody").count() == 0
    assert visit.complaints == []
    visit.context.close()


def test_the_first_stop_of_the_keyboard_leads_past_the_navigation(browser: Browser, served: str) -> None:
    visit = Visit(browser, served, "light")
    visit.log_in()
    visit.page.keyboard.press("Tab")
    assert visit.page.locator(":focus").inner_text() == "To the content"
    visit.page.keyboard.press("Enter")
    assert visit.page.locator(":focus").get_attribute("id") == "main"
    visit.context.close()
