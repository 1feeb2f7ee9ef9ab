"""The pages in a real Chromium: no network, no errors, readable without scripts, in both schemes and at any width."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from ci import report
from tests.ci import sample_run

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Scheme = Literal["light", "dark"]

pytestmark = [
    pytest.mark.processes,
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium on this machine"),
]


class Visit:
    """One page in a context of its own, with everything it complained about and asked for."""

    def __init__(self, browser: Browser, path: Path, *, width: int, scheme: Scheme, scripts: bool) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
        )
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def colours(self) -> tuple[str, str]:
        """The page's ground and ink, as the browser computes them."""
        style = "getComputedStyle(document.body)"
        return self.page.evaluate(f"{style}.backgroundColor"), self.page.evaluate(f"{style}.color")

    def column(self, table: str, number: int) -> list[str]:
        """The cells of one column of the table at this selector, as they stand on the page."""
        return [
            text.strip() for text in self.page.locator(f"{table} tbody tr > :nth-child({number})").all_inner_texts()
        ]


class Go(Protocol):
    def __call__(self, name: str, *, width: int = 1280, scheme: Scheme = "light", scripts: bool = True) -> Visit: ...


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every sample as `<name>.html`, and a suite of them as `index.html`."""
    directory = tmp_path_factory.mktemp("pages")
    names = ("failing", "passing", "unknown", "crash", "empty", "big", "hostile")
    runs = {name: getattr(sample_run, name)() for name in names}
    for name, run in runs.items():
        report.write(run, directory / f"{name}.html")
    links = {run.id: f"{name}.html" for name, run in runs.items()}
    chosen = [runs[name] for name in ("crash", "passing", "failing", "unknown", "empty")]
    (directory / "index.html").write_text(report.render_index(chosen, links), encoding="utf-8")
    return directory


@pytest.fixture
def go(browser: Browser, pages: Path) -> Iterator[Go]:
    visits: list[Visit] = []

    def visit(name: str, *, width: int = 1280, scheme: Scheme = "light", scripts: bool = True) -> Visit:
        visits.append(Visit(browser, pages / f"{name}.html", width=width, scheme=scheme, scripts=scripts))
        return visits[-1]

    yield visit
    for one in visits:
        one.context.close()


@pytest.mark.parametrize("name", ["failing", "unknown", "empty", "big", "hostile", "index"])
def test_page_opens_without_errors_or_requests_and_fits_every_width(go: Go, name: str) -> None:
    seen = go(name)
    for width in (1280, 800, 400):
        seen.page.set_viewport_size({"width": width, "height": 900})
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.complaints == []
    assert [url.partition(":")[0] for url in seen.requests if not url.startswith("data:")] == ["file"]


def test_policy_refuses_a_script_that_is_not_the_pages_own(go: Go, pages: Path) -> None:
    """Shows that the policy bites: without it, the test above would prove less."""
    page = (pages / "failing.html").read_text(encoding="utf-8")
    (pages / "tampered.html").write_text(page.replace("</body>", "<script>document.title='!'</script></body>"))
    seen = go("tampered")
    assert seen.page.title() != "!"
    assert any("Content Security Policy" in complaint for complaint in seen.complaints)


def test_page_without_scripts_tells_verdict_criteria_and_lost_writes(go: Go) -> None:
    page = go("failing", scripts=False).page
    assert page.get_by_text("2 of 15 criteria failed.").is_visible()
    assert page.locator(".criteria").get_by_text("DATA-ORPHANS").is_visible()
    assert page.locator("button").count() == 0
    first = sample_run.failing().rpo
    assert first
    listed = page.locator(".lost-ids pre")
    assert not listed.is_visible()
    page.locator(".lost-ids summary").click()
    assert listed.is_visible()
    assert listed.inner_text().startswith(first.lost_writes[0].op)


def test_dark_scheme_changes_the_colours(go: Go) -> None:
    light, dark = go("failing").colours(), go("failing", scheme="dark").colours()
    assert light == ("rgb(245, 246, 248)", "rgb(20, 24, 31)")
    assert dark == ("rgb(14, 17, 22)", "rgb(233, 236, 241)")


def test_paper_is_light_even_when_the_screen_is_dark(go: Go) -> None:
    seen = go("failing", scheme="dark")
    seen.page.emulate_media(media="print")
    assert seen.colours()[1] == "rgb(20, 24, 31)"
    assert not seen.page.locator("nav").is_visible()
    assert len(seen.page.pdf(format="A4")) > 20_000


def test_column_heads_sort_both_ways_by_value_not_by_text(go: Go) -> None:
    seen = go("failing")
    table = "#flows table"
    seen.page.locator(table).get_by_role("button", name="Requests").click()
    assert seen.column(table, 2) == ["62", "1,280", "2,551", "3,904", "5,188", "6,402", "9,210"]
    seen.page.locator(table).get_by_role("button", name="Requests").click()
    assert seen.column(table, 2)[0] == "9,210"
    assert seen.page.locator(f"{table} [aria-sort=descending]").inner_text() == "Requests"


def test_sorting_criteria_by_result_keeps_failures_first(go: Go) -> None:
    seen = go("failing")
    seen.page.locator(".criteria").get_by_role("button", name="Criterion").click()
    seen.page.locator(".criteria").get_by_role("button", name="Result").click()
    assert seen.column(".criteria", 1)[:3] == ["fail", "fail", "pass"]


def test_crosshair_reads_the_second_under_the_pointer(go: Go) -> None:
    page = go("failing").page
    chart = page.locator(".plot").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 43.5 / 70.4, box["y"] + 40)
    readout = page.locator(".readout")
    assert readout.is_visible()
    lines = readout.inner_text().split("\n")
    assert lines[0] == "second 43"
    assert "p95not measured" in "".join(lines)
    page.mouse.move(5, 5)
    assert not readout.is_visible()


def test_crosshair_follows_the_arrow_keys(go: Go) -> None:
    page = go("failing").page
    page.locator("[data-timeline] .plots").focus()
    for key in ("ArrowRight", "PageDown", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.locator(".readout b").inner_text() == "second 9"
    page.keyboard.press("Escape")
    assert not page.locator(".readout").is_visible()


def test_keyboard_focus_is_visible(go: Go) -> None:
    page = go("failing").page
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"


def test_copy_button_selects_the_whole_list(go: Go) -> None:
    page = go("passing").page
    page.locator(".lost-ids summary").click()
    page.locator(".lost-ids").get_by_role("button", name="Copy").click()
    assert len(page.evaluate("getSelection().toString()").split()) == 577


def test_suite_links_to_each_report(go: Go) -> None:
    page = go("index").page
    page.locator(".suite a").nth(2).click()
    assert page.locator(".hero .word").inner_text() == "Fail"
