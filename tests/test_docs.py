"""The documents tell the truth: every verb and every target is in them, and what they show can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ci import cli

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = (README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*/DESIGN.md")))


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command that does something, as it is typed."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join(("gymkhana", *path, name))


def undocumented(commands: list[str], text: str) -> list[str]:
    return [command for command in commands if f"`{command}`" not in text]


def targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))


def shown_targets(text: str) -> set[str]:
    return set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", text, re.MULTILINE))


def shown_commands(text: str) -> list[str]:
    """Every line that a reader would type after a prompt, comments taken off."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("gymkhana ")]


def faults_of(line: str) -> list[str]:
    """What the command line does not know of the words shown."""
    words = shlex.split(line)[1:]
    command: click.Command = cli.gymkhana
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        if found is None:
            return [f"{line}: there is no {name}"]
        command = found
    known = {option for parameter in command.params for option in parameter.opts}
    return [f"{line}: no option {word}" for word in words if word.startswith("--") and word not in known]


def broken_links(document: Path, text: str) -> list[str]:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    return [f"{document.name}: {link}" for link in links if not (document.parent / link).exists()]


def test_every_verb_is_in_the_readme() -> None:
    assert undocumented(list(leaves(cli.gymkhana)), README.read_text(encoding="utf-8")) == []


def test_every_target_is_in_the_readme_and_every_target_shown_exists() -> None:
    there = targets((ROOT / "Makefile").read_text(encoding="utf-8"))
    assert there - {"help"} - shown_targets(README.read_text(encoding="utf-8")) == set()
    for document in DOCUMENTS:
        assert shown_targets(document.read_text(encoding="utf-8")) - there == set(), document.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_shows_can_be_typed_and_its_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert [fault for line in shown_commands(text) for fault in faults_of(line)] == []
    assert broken_links(document, text) == []


def test_the_readme_shows_commands_at_all() -> None:
    assert len(shown_commands(README.read_text(encoding="utf-8"))) >= 5


def test_the_changelog_keeps_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.startswith("# Changelog\n")
    assert "## [Unreleased]" in text


def test_the_place_for_the_verdict_is_marked() -> None:
    text = README.read_text(encoding="utf-8")
    assert text.count("<!-- verdict:begin -->") == text.count("<!-- verdict:end -->") == 1


def test_an_undocumented_verb_is_found() -> None:
    assert undocumented(["gymkhana drill run", "gymkhana vanish"], "`gymkhana drill run`") == ["gymkhana vanish"]


def test_a_shown_target_that_does_not_exist_is_found() -> None:
    assert shown_targets("`make drill` and\nmake vanish NOW=1") - targets("drill: ## Drill\n") == {"vanish"}


@pytest.mark.parametrize("line", ["gymkhana vanish", "gymkhana backup vanish", "gymkhana drill run all --vanish"])
def test_a_shown_command_that_cannot_be_typed_is_found(line: str) -> None:
    assert shown_commands(f"```sh\n{line}  # really\n```\n") == [line]
    assert len(faults_of(line)) == 1


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    assert broken_links(tmp_path / "a.md", "[x](vanished.md) [y](https://example.org)") == ["a.md: vanished.md"]
