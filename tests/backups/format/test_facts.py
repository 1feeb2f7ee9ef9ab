"""Facts: what they see, what they overlook, and in which words they differ."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from backups.format.facts import Facts, TableContent, TableFacts, differences
from backups.sqlite.facts import content, measure
from tests.backups import databases

FACTS = Facts(
    tables={"notes": TableFacts(2), "users": TableFacts(1)},
    schema_digest="s",
    revision="0002",
    position=5,
    position_of="operations.sequence",
    page_size=4096,
    page_count=9,
    foreign_key_violations=0,
    engine_version="3.53.4",
)


def changed(**fields: object) -> Facts:
    return msgspec.structs.replace(FACTS, **fields)


def test_equal_facts_do_not_differ_and_the_version_of_the_engine_does_not_count() -> None:
    assert differences(FACTS, FACTS) == ()
    assert differences(FACTS, changed(engine_version="3.60.0")) == ()


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (changed(schema_digest="t"), "The schema is t, and the manifest says s."),
        (changed(revision=None), "The schema revision is None, and the manifest says 0002."),
        (changed(position=4), "The position is 4, and the manifest says 5."),
        (changed(page_count=8), "The number of pages is 8, and the manifest says 9."),
        (changed(foreign_key_violations=1), "The number of foreign key violations is 1, and the manifest says 0."),
        (changed(tables={"notes": TableFacts(2)}), "Table users is missing."),
        (
            changed(tables={**FACTS.tables, "x": TableFacts(0)}),
            "Table x is there, and the manifest does not know it.",
        ),
        (
            changed(tables={**FACTS.tables, "notes": TableFacts(3)}),
            "Table notes has 3 rows, and the manifest says 2.",
        ),
    ],
)
def test_each_difference_is_one_sentence(found: Facts, sentence: str) -> None:
    assert differences(FACTS, found) == (sentence,)


def facts_of(path: Path, script: str, position_of: str | None = None) -> Facts:
    path.unlink(missing_ok=True)
    with closing(databases.connect(path)) as database:
        database.executescript(script)
        return measure(database, position_of)


def content_of(path: Path, script: str) -> dict[str, TableContent]:
    path.unlink(missing_ok=True)
    with closing(databases.connect(path)) as database:
        database.executescript(script)
        return content(database)


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    create = "CREATE TABLE t (a, b);"
    one = content_of(tmp_path / "db", create + "INSERT INTO t VALUES (1, 'x'), (2, 'y');")
    two = content_of(tmp_path / "db", create + "INSERT INTO t VALUES (2, 'y'), (1, 'x');")
    assert one == two


@pytest.mark.parametrize(
    "rows",
    [
        "(1, 'x'), (1, 'x')",  # a row twice
        "(2, 'x'), (1, 'y')",  # the same values, in other rows
        "(1, 'x'), (2, NULL)",  # a value gone
        "(1, 'x'), (2.0, 'y')",  # the same number of another type
        "(1, 'x'), (2, 'y ')",  # a blank more
        "(1, 'x'), ('2', 'y')",  # a number as text
    ],
)
def test_any_other_content_has_another_digest(tmp_path: Path, rows: str) -> None:
    create = "CREATE TABLE t (a, b);"
    one = content_of(tmp_path / "db", create + "INSERT INTO t VALUES (1, 'x'), (2, 'y');")
    two = content_of(tmp_path / "db", create + f"INSERT INTO t VALUES {rows};")
    assert one["t"].rows == two["t"].rows
    assert one["t"].digest != two["t"].digest


def test_an_index_lost_is_another_schema(tmp_path: Path) -> None:
    with_index = facts_of(tmp_path / "db", "CREATE TABLE t (a); CREATE INDEX i ON t (a);")
    assert facts_of(tmp_path / "db", "CREATE TABLE t (a);").schema_digest != with_index.schema_digest


def test_odd_names_odd_texts_and_large_values_are_measured(tmp_path: Path) -> None:
    script = """
    CREATE TABLE "say ""hi""; drop" (a PRIMARY KEY) WITHOUT ROWID;
    INSERT INTO "say ""hi""; drop" VALUES (cast(x'ff fe' AS TEXT)), (9223372036854775807), (zeroblob(100000)), (1e308);
    CREATE VIRTUAL TABLE words USING fts5 (text);
    INSERT INTO words VALUES ('found again');
    CREATE VIEW v AS SELECT 1;
    """.replace("x'ff fe'", "x'fffe'")
    facts = facts_of(tmp_path / "db", script)
    assert content_of(tmp_path / "db", script).keys() == facts.tables.keys()
    assert facts.tables['say "hi"; drop'].rows == 4
    assert facts.tables["words_content"].rows == 1
    assert "v" not in facts.tables


@pytest.mark.parametrize("position_of", ["none.sequence", "operations.none"])
def test_a_position_that_the_database_lacks_is_none(database: Path, position_of: str) -> None:
    with closing(databases.connect(database)) as open_database:
        assert measure(open_database, position_of).position is None
        assert measure(open_database, "operations.sequence").position == 200


def test_a_database_without_alembic_has_no_revision(tmp_path: Path) -> None:
    assert facts_of(tmp_path / "db", "CREATE TABLE t (a);").revision is None
