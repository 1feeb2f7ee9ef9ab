"""The pages in a real Chromium, by keyboard alone: nothing from elsewhere, no complaint, both schemes, any width."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ci.loopback import HOST, free_ports
from migrations import revisions
from system.admin import console
from tests.backups.databases import ROOT, wait_until

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PASSWORD = "a door with two locks"
PAGES = ("", "/sessions", "/password", "/accounts", "/tokens", "/audit")
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
AA = 4.5

pytestmark = [
    pytest.mark.processes,
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with one admin, ada."""
    directory = tmp_path_factory.mktemp("served")
    database = f"sqlite:///{directory / 'gym.db'}"
    revisions.upgrade(database)
    console.create(database, "ada", "admin", PASSWORD)
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "ci.cli", "serve", "--port", str(port), "--database", database]
    with (directory / "log").open("wb") as log:
        service = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(f"http://{HOST}:{port}/health/ready"), "the service was ready")
        yield f"http://{HOST}:{port}"
    finally:
        service.terminate()
        service.wait(timeout=20)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """A browser of its own at the log-in, with everything that it complained about and asked for."""

    def __init__(self, browser: Browser, served: str, scheme: Scheme) -> None:
        self.context: BrowserContext = browser.new_context(
            viewport={"width": 1280, "height": 900}, color_scheme=scheme, java_script_enabled=True
        )
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.served = served

    def _heard(self, kind: str, text: str) -> None:
        """What the browser only suggests is no complaint."""
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def log_in(self) -> None:
        """By keyboard: the first field has the focus."""
        self.page.goto(f"{self.served}/admin")
        self.page.locator("#name:focus").wait_for()
        self.page.keyboard.type("ada")
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(PASSWORD)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(f"{self.served}/admin")


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


def faint(page: Page) -> list[str]:
    """Texts that stand out less from their ground than WCAG's AA wants."""
    found: list[str] = page.evaluate(CONTRAST, AA)
    return found


CONTRAST = """
(least) => {
  const parsed = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parsed(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")]
    .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
    .map((one) => {
      const [a, b] = [light(parsed(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), one.textContent.trim().slice(0, 40)];
    })
    .filter(([ratio]) => ratio < least)
    .map(([ratio, text]) => `${text}: ${ratio.toFixed(2)}`);
}
"""
