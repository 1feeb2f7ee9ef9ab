"""The runbooks as pages: every one that a rule names, leading to each other, and nothing in them runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from system import runbooks
from system.alerts import rules

WRITTEN = Path(__file__).parents[2] / "docs" / "runbooks"


def test_every_runbook_that_is_written_can_be_read() -> None:
    assert set(runbooks.names()) == {path.stem for path in WRITTEN.glob("*.md")} - {"README"}
    for name in runbooks.names():
        html = runbooks.drawn(name)
        assert html is not None
        assert html.count("<h1>") == 1
        assert "<pre><code" in html


def test_every_rule_names_one_of_them() -> None:
    assert {runbooks.named(rule.runbook) for rule in rules.read()} <= set(runbooks.names())


@pytest.mark.parametrize(
    "elsewhere", ["https://example.org/lost-database.md", "docs/runbooks/none.md", "lost-database", ""]
)
def test_a_runbook_that_is_not_ours_is_none(elsewhere: str) -> None:
    assert runbooks.named(elsewhere) is None


def test_links_between_them_lead_to_pages() -> None:
    listed = runbooks.drawn("README")
    assert listed is not None
    assert set(re.findall(r'href="/admin/runbooks/([a-z-]+)"', listed)) == set(runbooks.names())
    assert ".md" not in re.sub(r">[^<]*<", "><", listed)


@pytest.mark.parametrize("name", ["../design", "none", "", "README.md", "..%2Fdesign"])
def test_what_is_no_runbook_is_not_drawn(name: str) -> None:
    assert runbooks.drawn(name) is None


def test_what_would_run_in_a_runbook_stays_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "planted.md"
    page.write_text('# x\n\n<script>alert(1)</script>\n\n[a](javascript:alert(1)) <img src=x onerror="alert(1)">\n')
    monkeypatch.setattr(runbooks, "_files", lambda: {"planted": page})
    html = runbooks.drawn("planted")
    assert html is not None
    assert "<script" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html


def test_what_is_installed_holds_them_too() -> None:
    """In a wheel, and in what an image is built from."""
    root = WRITTEN.parents[1]
    built = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert built["force-include"] == {"docs/runbooks": f"system/{runbooks.PLACES[0].name}"}
    assert "!docs/runbooks" in (root / ".dockerignore").read_text("utf-8").splitlines()
