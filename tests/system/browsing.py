"""A real Chromium, and a real service for it to look at: what a page complains about, and whom it asks."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ci.loopback import HOST, free_ports
from migrations import revisions
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


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, until the block is left."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextlib.contextmanager
def serving(directory: Path, database: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a service on that database, brought up to date first, until the block is left."""
    revisions.upgrade(database)
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "ci.cli", "serve", "--port", str(port), "--database", database]
    with (directory / "log").open("wb") as log:
        service = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment)
    try:
        wait_until(lambda: answers(f"http://{HOST}:{port}/health/ready"), "the service was ready")
        yield f"http://{HOST}:{port}"
    finally:
        service.terminate()
        service.wait(timeout=20)


def answers(url: str) -> bool:
    """Whether that is answered with 200 now."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


class Visit:
    """Somebody's own browser window, with everything that pages complained about and asked for."""

    def __init__(self, browser: Browser) -> None:
        self.context: BrowserContext = browser.new_context(viewport={"width": 1280, "height": 900})
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self._heard(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _heard(self, kind: str, text: str) -> None:
        """What the browser only suggests is no complaint."""
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def elsewhere(self, served: str) -> list[str]:
        """What was asked of anybody but that service; pictures that stand in a stylesheet are asked of nobody."""
        return [url for url in self.requests if not url.startswith((f"{served}/", "data:"))]
