"""`/docs` in a real Chromium: it shows and tries what there is, asks nobody else, and its policy never has to bite."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.system.admin.browsing import ARGUMENTS, CHROMIUM, IN_A_BROWSER, Served, Visit

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    served = Served(tmp_path_factory.mktemp("documented"))
    served.start()
    yield served.url
    served.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def test_the_page_lists_and_tries_the_operations(browser: Browser, served: str) -> None:
    visit = Visit(browser, served, "light")
    page = visit.page
    page.goto(f"{served}/docs")
    page.locator(".opblock").first.wait_for()
    with urllib.request.urlopen(f"{served}/openapi.json") as answer:
        described = sum(map(len, json.load(answer)["paths"].values()))
    assert page.locator(".opblock").count() == described > 30
    assert "Operation-Id" in page.locator(".information-container").inner_text()
    opened = page.locator("#operations-health-ready_health_ready_get")
    opened.locator("button.opblock-summary-control").click()
    opened.get_by_role("button", name="Execute").click()
    shown = opened.locator(".live-responses-table .response").first
    shown.wait_for()
    assert shown.locator(".response-col_status").inner_text().startswith("200")
    assert '"written and read back"' in shown.inner_text()
    assert visit.complaints == []
    assert visit.elsewhere() == []
    visit.context.close()


def test_a_write_is_tried_with_a_body_and_an_operation_id(browser: Browser, served: str) -> None:
    visit = Visit(browser, served, "light")
    page = visit.page
    page.goto(f"{served}/docs")
    opened = page.locator("#operations-users-sign_up_users_post")
    opened.locator("button.opblock-summary-control").click()
    opened.get_by_placeholder("Operation-Id").fill("docs.1")
    opened.locator("textarea.body-param__text").fill('{"name": "docs-reader", "password": "a door with two locks"}')
    opened.get_by_role("button", name="Execute").click()
    answer = opened.locator(".live-responses-table .response").first
    answer.wait_for()
    assert answer.locator(".response-col_status").inner_text().startswith("201")
    assert visit.complaints == []
    visit.context.close()


def test_the_policy_bites(browser: Browser, served: str) -> None:
    """Shows that a complaint would have been seen, and somebody else asked: neither comes through."""
    visit = Visit(browser, served, "light")
    page = visit.page
    page.goto(f"{served}/docs")
    page.locator(".opblock").first.wait_for()
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title=1'}))"
    )
    page.evaluate("fetch('http://127.0.0.2:9/').catch(() => {})")
    assert page.title() == "Gymkhana's gym platform"
    assert sum("Content Security Policy" in complaint for complaint in visit.complaints) >= 2
    visit.context.close()
