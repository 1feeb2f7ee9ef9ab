"""What tests of the pages in a real Chromium share: a service of its own, browsers that keep what they complain about."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

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
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
AA = 4.5
SHOTS = ROOT / "var" / "screenshots"
AXE = (ROOT / "tests" / "assets" / "axe.min.js").read_text("utf-8")

IN_A_BROWSER = [
    pytest.mark.processes,
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium on this machine"),
]


class Served:
    """A service of its own, on SQLite, with one admin, ada. It keeps its address when it is stopped and started again."""

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._environment = os.environ | (environment or {})
        self.path = directory / "gym.db"
        self.database = f"sqlite:///{self.path}"
        revisions.upgrade(self.database)
        console.create(self.database, "ada", "admin", PASSWORD)
        (self._port,) = free_ports(1)
        self.url = f"http://{HOST}:{self._port}"
        self._service: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """It is ready."""
        command = [sys.executable, "-m", "ci.cli", "serve", "--port", str(self._port), "--database", self.database]
        with (self._directory / "log").open("ab") as log:
            self._service = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=self._environment)
        wait_until(lambda: answers(f"{self.url}/health/ready"), "the service was ready")

    def stop(self) -> None:
        """It has ended, as it does when it is told to."""
        if self._service is not None:
            self._service.terminate()
            self._service.wait(timeout=20)
            self._service = None


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


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

    def elsewhere(self) -> list[str]:
        """What was asked of anybody but the service; pictures that stand in a stylesheet are asked of nobody."""
        return [url for url in self.requests if not url.startswith((f"{self.served}/", "data:"))]

    def log_in(self) -> None:
        """By keyboard: the first field has the focus."""
        self.page.goto(f"{self.served}/admin")
        self.page.locator("#name:focus").wait_for()
        self.page.keyboard.type("ada")
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(PASSWORD)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(f"{self.served}/admin")


def shot(page: Page, name: str) -> None:
    """The whole page as a picture, kept for whoever wants to look."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def barriers(page: Page) -> list[str]:
    """What axe finds on the page that is serious or critical, with the first place of each."""
    page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in found if one["impact"] in ("serious", "critical")
    ]


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
