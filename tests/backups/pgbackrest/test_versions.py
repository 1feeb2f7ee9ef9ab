"""Which pgBackRest works with which PostgreSQL, by table; the sentence says what the server needs."""

from __future__ import annotations

import pytest

from backups.pgbackrest import versions


@pytest.mark.parametrize(
    ("version", "major"),
    [
        ((2, 36), 14),
        ((2, 45), 14),
        ((2, 41), 15),
        ((2, 45), 15),
        ((2, 46), 16),
        ((2, 50), 16),
        ((2, 53, 1), 17),
        ((2, 54), 17),
        ((2, 55), 18),
        ((2, 55, 0), 18),
        ((2, 59, 1), 18),
        ((3, 0), 15),
    ],
)
def test_a_pair_that_works_has_nothing_to_say(version: versions.Version, major: int) -> None:
    assert versions.misfit(version, major) == ""


@pytest.mark.parametrize(
    ("version", "major", "sentence"),
    [
        ((2, 45), 16, "PostgreSQL 16 needs pgBackRest 2.46 or newer, and the 2.45 here works up to PostgreSQL 15."),
        ((2, 45), 17, "PostgreSQL 17 needs pgBackRest 2.53.1 or newer, and the 2.45 here works up to PostgreSQL 15."),
        ((2, 45), 18, "PostgreSQL 18 needs pgBackRest 2.55.0 or newer, and the 2.45 here works up to PostgreSQL 15."),
        ((2, 53), 17, "PostgreSQL 17 needs pgBackRest 2.53.1 or newer, and the 2.53 here works up to PostgreSQL 16."),
        ((2, 54), 18, "PostgreSQL 18 needs pgBackRest 2.55.0 or newer, and the 2.54 here works up to PostgreSQL 17."),
        ((2, 40), 15, "PostgreSQL 15 needs pgBackRest 2.41 or newer, and the 2.40 here works up to PostgreSQL 14."),
        ((2, 10), 14, "PostgreSQL 14 needs pgBackRest 2.36 or newer, and the 2.10 here is older than any that works with 14"
                      " or newer."),
        ((2, 59), 42, "Which pgBackRest works with PostgreSQL 42 is not known here; those known here are 14 to 19."),
        ((2, 45), 13, "Which pgBackRest works with PostgreSQL 13 is not known here; those known here are 14 to 19."),
    ],
)  # fmt: skip
def test_a_pair_that_does_not_work_is_told_what_the_server_needs(
    version: versions.Version, major: int, sentence: str
) -> None:
    assert versions.misfit(version, major) == sentence


@pytest.mark.parametrize(
    ("told", "version"),
    [("pgBackRest 2.45\n", (2, 45)), ("pgBackRest 2.53.1", (2, 53, 1)), ("pgBackRest 2.56dev", (2, 56)), ("", None)],
)
def test_the_version_is_read_from_what_the_program_tells(told: str, version: versions.Version | None) -> None:
    assert versions.read(told) == version


def test_the_newest_that_fits_is_chosen_of_those_that_are_here() -> None:
    assert versions.newest_of((2, 45), [18, 16, 15, 14]) == 15
    assert versions.newest_of((2, 45), [18, 16]) is None
    assert versions.newest_of((2, 55), []) is None
