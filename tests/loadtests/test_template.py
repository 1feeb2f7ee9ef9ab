"""Templates: holes are found, typed holes keep their type, and JSON's own braces are left alone."""

from __future__ import annotations

import pytest

from loadtests.template import Choice, Hole, Name, Range, Template, literal, parse, parse_body


def test_path_with_a_named_hole() -> None:
    """Text, hole, text."""
    assert parse("/users/{other}/points") == Template(("/users/", Hole(Name("other"), typed=False), "/points"))


def test_text_without_holes_is_one_part() -> None:
    """Nothing to fill."""
    assert parse("/users/me") == Template(("/users/me",))


def test_whole_string_becomes_a_typed_hole() -> None:
    """`"{1..5}"` stands for a number, `"Best of {n}"` for text with a number in it."""
    assert parse_body({"stake": "{1..5}", "title": "Best of {n}"}) == Template(
        (
            '{"stake":',
            Hole(Range(1, 5), typed=True),
            ',"title":"Best of ',
            Hole(Name("n"), typed=False),
            '"}',
        )
    )


def test_words_to_choose_from() -> None:
    """Two or more, apart by bars."""
    assert parse_body({"side": "{home|away}"}).parts[1] == Hole(Choice(("home", "away")), typed=True)


@pytest.mark.parametrize("body", [{}, {"a": {}}, {"a": {"b": 1}}, {"a": [{"b": {}}]}])
def test_json_braces_are_not_holes(body: dict[str, object]) -> None:
    """An object's brace is followed by a quote or by its end."""
    assert len(parse_body(body).parts) == 1


def test_names_are_what_must_be_filled() -> None:
    """Ranges and choices need nobody."""
    assert parse("/{me}/{1..3}/{a|b}/{taken}").names == {"me", "taken"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("/{you}", r"\{you\} is not a known hole; use \{me\}"),
        ("/{3..1}", r"\{3\.\.1\} is an empty range"),
        ("/{a|}", r"\{a\|\} is not a known hole"),
        ("/{1..}", r"\{1\.\.\} is not a known hole"),
    ],
)
def test_unknown_hole_is_named(text: str, complaint: str) -> None:
    """A typing error must not become a literal in a request."""
    with pytest.raises(ValueError, match=complaint):
        parse(text)


def test_values_are_escaped_as_json() -> None:
    """A quote in a password must not end the string it stands in."""
    assert literal('a"b', typed=True) == '"a\\"b"'
    assert literal('a"b', typed=False) == 'a\\"b'
    assert literal(5, typed=True) == literal(5, typed=False) == "5"
