"""Populations: read whole, written privately, refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests import population
from loadtests.errors import PopulationError
from loadtests.population import Population


def test_population_is_read_back(tmp_path: Path, people: Population) -> None:
    """As whoever seeds a service writes it."""
    population.write(people, tmp_path / "people.json")
    assert population.read(tmp_path / "people.json") == people


def test_file_with_tokens_is_private(tmp_path: Path, people: Population) -> None:
    """Anyone who can read it can be anyone in it."""
    population.write(people, tmp_path / "people.json")
    assert (tmp_path / "people.json").stat().st_mode & 0o077 == 0


def test_password_may_be_left_out(tmp_path: Path) -> None:
    """Then nobody logs in."""
    path = tmp_path / "people.json"
    path.write_text('{"run":"R","users":[{"id":1,"name":"u1","token":"t"}],"tournaments":[],"matches":[]}')
    assert population.read(path).password is None


def test_both_players_of_a_match_have_it(people: Population) -> None:
    """Either may score in it."""
    own = people.matches_by_player()
    assert [match.id for match in own[1]] == [match.id for match in own[2]] == [501]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("users: all", "is not a population"),
        ('{"run":"R","users":[],"tournaments":[]}', "is not a population .*matches"),
        ('{"run":"R","users":[{"id":"one","name":"u","token":"t"}],"tournaments":[],"matches":[]}', "Expected `int`"),
        (
            '{"run":"R","users":[{"id":1,"name":"a","token":"t"},{"id":1,"name":"b","token":"t"}],"tournaments":[],'
            '"matches":[]}',
            "names a user twice",
        ),
    ],
)
def test_unusable_file_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    """With the exit code of bad input."""
    path = tmp_path / "people.json"
    path.write_text(content)
    with pytest.raises(PopulationError, match=complaint) as caught:
        population.read(path)
    assert caught.value.exit_code == 2


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A typing error on the command line."""
    with pytest.raises(PopulationError, match=r"nobody\.json cannot be read"):
        population.read(tmp_path / "nobody.json")
