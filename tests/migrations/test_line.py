"""The way along the line of revisions, on a line written out."""

from __future__ import annotations

import pytest

from migrations.errors import BadRequest, NewerSchema
from migrations.line import Revision, line, way_down, way_up
from system.database import OLDEST_SCHEMA, SCHEMA_REVISION
from system.schema import served

A, B, C = Revision("a", "first"), Revision("b", "second"), Revision("c", "third")
LINE = (A, B, C)


@pytest.mark.parametrize(
    ("found", "to", "way"),
    [
        (None, "head", (A, B, C)),
        (None, "b", (A, B)),
        ("a", "head", (B, C)),
        ("b", "b", ()),
        ("c", "head", ()),
        (None, "base", ()),
    ],
)
def test_the_way_up(found: str | None, to: str, way: tuple[Revision, ...]) -> None:
    assert way_up(LINE, found, to) == way


@pytest.mark.parametrize(
    ("found", "to", "way"), [("c", "a", (C, B)), ("c", "base", (C, B, A)), ("a", "a", ()), (None, "base", ())]
)
def test_the_way_down(found: str | None, to: str, way: tuple[Revision, ...]) -> None:
    assert way_down(LINE, found, to) == way


def test_up_does_not_go_back_and_down_does_not_go_on() -> None:
    with pytest.raises(BadRequest, match="beyond a; `gymkhana migrate down a`"):
        way_up(LINE, "b", "a")
    with pytest.raises(BadRequest, match="before c; `gymkhana migrate up c`"):
        way_down(LINE, "b", "c")


def test_an_unknown_target_is_answered_with_those_there_are() -> None:
    with pytest.raises(BadRequest, match="base, a, b, c and head"):
        way_up(LINE, "a", "z")


def test_a_database_beyond_the_line_is_of_a_newer_version() -> None:
    for way in (way_up, way_down):
        with pytest.raises(NewerSchema, match="revision z, and this version knows none after c"):
            way(LINE, "z", "a")


def test_code_serves_from_what_it_needs_to_one_revision_after_what_it_knows() -> None:
    assert served("0001", "0001") == ("0001", "0002")
    assert served("0002", "0004") == ("0002", "0003", "0004", "0005")
    assert OLDEST_SCHEMA in {one.id for one in line()}


def test_the_real_line_has_one_head_and_it_is_what_the_service_expects() -> None:
    ids = [one.id for one in line()]
    assert ids == [f"{number:04}" for number in range(1, len(ids) + 1)], "schema.served counts on it"
    assert ids[-1] == SCHEMA_REVISION
    assert all(one.title.endswith(".") for one in line())
