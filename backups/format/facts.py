"""What a database held at one instant, small enough to keep in a manifest and sharp enough to tell a bad copy."""

from __future__ import annotations

import msgspec


class TableFacts(msgspec.Struct, frozen=True):
    """One table: how many rows."""

    rows: int


class TableContent(msgspec.Struct, frozen=True):
    """One table: how many rows, and the digest (32 hex digits) of their contents.

    The digest is the sum, modulo 2^128, of the BLAKE3 of every row: the order of rows does not matter, and a sum (unlike an
    exclusive or) also sees a row that is there twice. It takes minutes where the rest of the facts take seconds, so it is
    not among them: that the pages are the right ones is told by their hashes.
    """

    rows: int
    digest: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared between a database and a copy of it.

    `position` is the highest value of the monotone column named by `position_of` (`table.column`): how far the application
    had come, None when the database has no such column. `revision` is the Alembic revision, None when there is none.
    `foreign_key_violations` is a fact, not a fault: a faithful copy of a database with three violations has three.
    """

    tables: dict[str, TableFacts]
    schema_digest: str
    revision: str | None
    position: int | None
    position_of: str | None
    page_size: int
    page_count: int
    foreign_key_violations: int
    engine_version: str

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(table.rows for table in self.tables.values())


def differences(expected: Facts, found: Facts) -> tuple[str, ...]:
    """How what was found differs from what the manifest says, one sentence each; empty when it does not."""
    return (*_scalar_differences(expected, found), *_table_differences(expected, found))


def _scalar_differences(expected: Facts, found: Facts) -> list[str]:
    compared = {
        "schema": (expected.schema_digest, found.schema_digest),
        "schema revision": (expected.revision, found.revision),
        "position": (expected.position, found.position),
        "page size": (expected.page_size, found.page_size),
        "number of pages": (expected.page_count, found.page_count),
        "number of foreign key violations": (expected.foreign_key_violations, found.foreign_key_violations),
    }
    return [
        f"The {name} is {there}, and the manifest says {wanted}."
        for name, (wanted, there) in compared.items()
        if wanted != there
    ]


def _table_differences(expected: Facts, found: Facts) -> list[str]:
    sentences = []
    for name in sorted(expected.tables.keys() | found.tables.keys()):
        wanted, there = expected.tables.get(name), found.tables.get(name)
        if there is None:
            sentences.append(f"Table {name} is missing.")
        elif wanted is None:
            sentences.append(f"Table {name} is there, and the manifest does not know it.")
        elif wanted.rows != there.rows:
            sentences.append(f"Table {name} has {there.rows} rows, and the manifest says {wanted.rows}.")
    return sentences
