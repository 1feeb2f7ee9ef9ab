"""What of the shipped log is marked to go: the first phase of deleting it, as with backups.

    log/<generation>/expired.json                     all of it
    log/<generation>/expired-below-0000000041.json    the segments before that one

A mark goes after everything that it stands for, so a deletion that was killed is ended by the next one. Segments go in
order: what is left of a generation at any moment is its end, without a hole.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import msgspec

from backups.errors import NameTaken
from backups.format import marks
from backups.log import segments
from backups.stores.store import Store

_NAME = re.compile(re.escape(segments.PREFIX) + r"(?P<generation>[^/]+)/expired(?:-below-(?P<below>\d{10,}))?\.json")


@dataclass(frozen=True, slots=True)
class Cut:
    """The segments of a generation before `below`; when that is None, the whole of it."""

    generation: str
    below: int | None = None

    def __str__(self) -> str:
        return self.generation if self.below is None else f"{self.generation} below {self.below}"

    @property
    def mark(self) -> str:
        """The name of the object that marks it."""
        ending = "expired.json" if self.below is None else f"expired-below-{self.below:010d}.json"
        return f"{segments.PREFIX}{self.generation}/{ending}"


def mark(store: Store, cut: Cut, *, at: str) -> None:
    """Mark it to go. What is marked already keeps its mark."""
    expiry = marks.Expiry(backup=str(cut), at=at)
    with suppress(NameTaken):
        store.create(cut.mark, (msgspec.json.encode(expiry, order="sorted") + b"\n",))


def marked(store: Store) -> dict[Cut, datetime]:
    """Everything that is marked, and since when; a mark that cannot be read is as new as can be."""
    found = {}
    for stored in store.list(segments.PREFIX):
        if match := _NAME.fullmatch(stored.name):
            below = match["below"]
            found[Cut(match["generation"], None if below is None else int(below))] = marks.since(store, stored.name)
    return found


def delete(store: Store, cut: Cut) -> None:
    """What is marked is gone on return, and its mark."""
    names = [stored.name for stored in store.list(f"{segments.PREFIX}{cut.generation}/")]
    of_segments = sorted(name for name in names if _goes(name, cut))
    others = [name for name in names if segments.index_in(name) is None and name != cut.mark]
    for name in (*of_segments, *(others if cut.below is None else ())):
        store.delete(name)
    store.delete(cut.mark)


def _goes(name: str, cut: Cut) -> bool:
    place = segments.index_in(name)
    return place is not None and (cut.below is None or place[1] < cut.below)
