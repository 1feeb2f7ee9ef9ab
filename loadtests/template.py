"""Templates of paths and bodies: text with holes such as `{me}`, `{1..5}` or `{home|away}`.

A hole that is a whole JSON string becomes a typed value: `{"stake": "{1..5}"}` gives `{"stake": 3}`. No JSON object can be
mistaken for a hole, because an object's brace is followed by a quote or by its own end.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import msgspec

NAMES = {
    "me": "the player's own id",
    "user": "the virtual user's number",
    "name": "the player's own name",
    "password": "the password the population shares",
    "other": "the id of another player",
    "tournament": "the id of any tournament",
    "taken": "the id this flow took from its bag",
    "n": "the number of this step",
}
"""Every named hole and what fills it."""

_HOLE = re.compile(r'"\{([^{}"]+)\}"|\{([^{}"]+)\}')
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")


@dataclass(frozen=True, slots=True)
class Name:
    """A hole filled from what the virtual user knows; one of `NAMES`."""

    name: str


@dataclass(frozen=True, slots=True)
class Range:
    """A hole filled with a whole number, both ends included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A hole filled with one of several words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hole:
    """Where a value goes. `typed` holes stand for a whole JSON value and keep the value's type."""

    source: Name | Range | Choice
    typed: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template: literal text and holes, in order."""

    parts: tuple[str | Hole, ...]

    @property
    def names(self) -> frozenset[str]:
        """The named holes this template needs filled."""
        return frozenset(
            part.source.name for part in self.parts if isinstance(part, Hole) and isinstance(part.source, Name)
        )


def parse(text: str) -> Template:
    """`text` as a template. Raises ValueError, naming the hole, when one is not understood."""
    parts: list[str | Hole] = []
    end = 0
    for match in _HOLE.finditer(text):
        typed, inner = match.group(1), match.group(2)
        parts += [text[end : match.start()], Hole(_source(typed or inner), typed is not None)]
        end = match.end()
    parts.append(text[end:])
    return Template(tuple(part for part in parts if part != ""))


def parse_body(body: dict[str, Any]) -> Template:
    """`body` as the template of its compact JSON text."""
    return parse(json.dumps(body, separators=(",", ":"), ensure_ascii=False))


def literal(value: int | str, *, typed: bool) -> str:
    """`value` as it stands in the rendered text: typed as a JSON value, otherwise as the inside of a string."""
    if isinstance(value, int):
        return str(value)
    quoted = msgspec.json.encode(value).decode()
    return quoted if typed else quoted[1:-1]


def _source(inner: str) -> Name | Range | Choice:
    if inner in NAMES:
        return Name(inner)
    if match := _RANGE.fullmatch(inner):
        low, high = int(match.group(1)), int(match.group(2))
        if high < low:
            raise ValueError(f"{{{inner}}} is an empty range")
        return Range(low, high)
    if "|" in inner and all(words := inner.split("|")):
        return Choice(tuple(words))
    known = ", ".join(f"{{{name}}}" for name in NAMES)
    raise ValueError(f"{{{inner}}} is not a known hole; use {known}, {{1..5}} or {{home|away}}")
