"""The runbooks as pages: read where they lie, in a checkout or in what was installed, and drawn from their Markdown."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

PLACES: Final = (Path(__file__).parent / "runbook_pages", Path(__file__).parents[1] / "docs" / "runbooks")
"""Where a wheel puts them (`pyproject.toml`), and where they are written."""
_LINK = re.compile(r'href="([a-z0-9-]+)\.md"')


def names() -> tuple[str, ...]:
    """Every runbook there is, the list of them left out."""
    return tuple(path.stem for path in _files().values() if path.stem != "README")


def named(path: str) -> str | None:
    """The name of the runbook that a rule's path means; None for one that is not ours."""
    stem = PurePosixPath(path).stem
    return stem if stem in _files() and path.endswith(".md") and "://" not in path else None


def drawn(name: str) -> str | None:
    """The runbook as HTML, which leads to the others below `/admin/runbooks/`; None when there is none of that name.

    Tags in the text stay text, and so does whatever would run.
    """
    path = _files().get(name)
    if path is None:
        return None
    from markdown_it import MarkdownIt  # When a page is asked for: a service that starts again serves its users first.

    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(path.read_text("utf-8"))
    return _LINK.sub(r'href="/admin/runbooks/\1"', str(html))


@cache
def _files() -> dict[str, Path]:
    place = next((place for place in PLACES if place.is_dir()), PLACES[0])
    return {path.stem: path for path in sorted(place.glob("*.md"))}
