"""A cursor goes on where it was made, and is refused anywhere else and when anything of it was changed."""

from __future__ import annotations

import pytest

from system.errors import Invalid
from system.reporting.cursors import Position, cursor, position

LISTING = ("activity", 7, None)
PLACE = Position(1_700_000_000_000, 2**40)


def test_a_cursor_names_its_place() -> None:
    assert position(cursor(PLACE, LISTING), LISTING) == PLACE


def test_every_changed_character_is_refused() -> None:
    word = cursor(PLACE, LISTING)
    for place in range(len(word)):
        changed = word[:place] + ("A" if word[place] != "A" else "B") + word[place + 1 :]
        with pytest.raises(Invalid):
            position(changed, LISTING)


@pytest.mark.parametrize("word", ["", "x", "....", "ä", cursor(PLACE, LISTING)[:-1], cursor(PLACE, LISTING) + "A"])
def test_what_is_no_cursor_is_refused(word: str) -> None:
    with pytest.raises(Invalid, match="begin again"):
        position(word, LISTING)


@pytest.mark.parametrize("listing", [("errors", 7, None), ("activity", 8, None), ("activity", 7, "users.me")])
def test_a_cursor_of_another_listing_is_refused(listing: tuple[object, ...]) -> None:
    with pytest.raises(Invalid):
        position(cursor(PLACE, listing), LISTING)
