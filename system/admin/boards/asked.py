"""What somebody wants to see of a board, as it stands in the address: the stretch of time, the filters, the page.

?span=6h&kind=matches.close          the last six hours, on until now
?from=2026-11-23T09:00&to=…&after=…  from then until then; times without an offset are in UTC
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlencode

from system.errors import Invalid
from system.shapes import ID_MAX

SPANS: Mapping[str, int] = {"1h": 3600, "6h": 6 * 3600, "24h": 24 * 3600, "7d": 7 * 24 * 3600}
"""The stretches of time that end now, in seconds."""
USUAL = "1h"
LONGEST_S = 400 * 24 * 3600
_STEPS = ((2 * 3600, 60), (12 * 3600, 300), (2 * 24 * 3600, 900), (14 * 24 * 3600, 3600), (LONGEST_S, 24 * 3600))
"""Up to which length of a window its charts have a point for how many seconds."""
_TEXT = 120


@dataclass(frozen=True, slots=True)
class Filter:
    """Something else that a board can be asked by: a choice, a number, or a text as it is."""

    name: str
    label: str
    choices: tuple[str, ...] = ()
    kind: Literal["text", "number"] = "text"

    def checked(self, given: str) -> str:
        """The value as it was given. Raises Invalid when the board cannot be asked for it."""
        if self.choices and given not in self.choices:
            raise Invalid("parameter-invalid", f"The parameter {self.name}: it is one of {', '.join(self.choices)}.")
        whole = given.isascii() and given.isdigit() and len(given) <= 19 and 1 <= int(given) <= ID_MAX
        if self.kind == "number" and not whole:
            raise Invalid("parameter-invalid", f"The parameter {self.name}: write a number from 1 on.")
        if len(given) > _TEXT or not given.isprintable():
            raise Invalid("parameter-invalid", f"The parameter {self.name}: one line of {_TEXT} characters at most.")
        return given


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when, in milliseconds, and how many seconds one point of a chart stands for."""

    from_ms: int
    to_ms: int
    step_s: int


@dataclass(frozen=True, slots=True)
class Question:
    """What a board is asked for. Two that are equal are answered alike, so they can share an answer."""

    span: str = USUAL
    from_ms: int | None = None
    to_ms: int | None = None
    filters: tuple[tuple[str, str], ...] = ()
    after: str = ""

    @property
    def moving(self) -> bool:
        """Whether it goes on until now."""
        return self.to_ms is None

    def filter(self, name: str) -> str | None:
        """What was chosen; None when it does not matter."""
        return dict(self.filters).get(name)

    def window(self, now_ms: int) -> Window:
        """The stretch of time, as of now, in whole seconds, as it can stand in an address.

        Raises Invalid when it ends before it begins, or is too long.
        """
        to_ms = -(-(now_ms if self.to_ms is None else self.to_ms) // 1000) * 1000
        from_ms = (to_ms - SPANS[self.span] * 1000 if self.from_ms is None else self.from_ms) // 1000 * 1000
        if not 0 <= to_ms - from_ms <= LONGEST_S * 1000:
            raise Invalid("parameter-invalid", "The parameter from: before `to`, and at most 400 days before it.")
        length_s = (to_ms - from_ms) / 1000
        return Window(from_ms, to_ms, next(step for longest, step in _STEPS if length_s <= longest))

    def pinned(self, window: Window) -> Question:
        """The same for that window alone, so that whoever goes on reading goes on in it."""
        return replace(self, from_ms=window.from_ms, to_ms=window.to_ms)

    def choosing(self, name: str, value: str) -> Question:
        """The same with that filter."""
        kept = tuple(one for one in self.filters if one[0] != name)
        return replace(self, filters=(*kept, (name, value)), after="")

    def query(self, *, span: str | None = None, after: str | None = None) -> str:
        """The question as it stands in an address, with another span, or further on."""
        told: list[tuple[str, str]] = []
        if span is None and (self.from_ms is not None or self.to_ms is not None):
            told += [("from", spelt(self.from_ms)), ("to", spelt(self.to_ms))]
        else:
            told.append(("span", span or self.span))
        told += [*self.filters, ("after", after or "")]
        return urlencode([one for one in told if one[1]])


def question(filters: Iterable[Filter], given: Mapping[str, str]) -> Question:
    """The question in an address. Raises Invalid, naming the parameter. What is empty was left out."""
    told = {name: value.strip() for name, value in given.items() if value.strip()}
    span = told.get("span", USUAL)
    if span not in SPANS:
        raise Invalid("parameter-invalid", f"The parameter span: it is one of {', '.join(SPANS)}.")
    chosen = tuple((one.name, one.checked(told[one.name])) for one in filters if one.name in told)
    return Question(span, _instant("from", told), _instant("to", told), chosen, told.get("after", "")[:_TEXT])


def spelt(ms: int | None) -> str:
    """An instant as it stands in an address and in a form's field."""
    return "" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _instant(name: str, told: Mapping[str, str]) -> int | None:
    if name not in told:
        return None
    try:
        # A plus in a query that was not encoded arrives as a blank.
        found = datetime.fromisoformat(told[name].replace(" ", "+") if "T" in told[name] else told[name])
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
        return int((found - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
    except (ValueError, OverflowError) as error:
        raise Invalid("parameter-invalid", f"The parameter {name}: write an instant like 2026-11-23T09:00.") from error
