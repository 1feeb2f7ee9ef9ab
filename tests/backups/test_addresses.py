"""Stores and engines by what a person types."""

from __future__ import annotations

from pathlib import Path

import pytest

from backups.addresses import engine_for, engine_named, store_at
from backups.errors import StoreUnusable, UsageError


def test_a_store_that_is_a_file_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreUnusable, match=r"^The store .*/store is a file, and a store is a directory: .*--store\.$"):
        store_at(str(tmp_path / "store"), make=True)


def test_a_store_that_is_missing_is_not_made_by_looking_at_it(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="There is no store at"):
        store_at(str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_a_store_is_made_by_its_first_write_and_not_before(tmp_path: Path) -> None:
    store = store_at(str(tmp_path / "new" / "store"), make=True)
    assert store.list() == ()
    assert not (tmp_path / "new").exists()
    store.create("name", (b"x",))
    assert store.size("name") == 1


def test_kinds_that_are_not_known_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="ftp://"):
        store_at("ftp://host/path")
    with pytest.raises(UsageError, match="mysql"):
        engine_for("mysql+pymysql://localhost/gym")
    with pytest.raises(UsageError, match="oracle"):
        engine_named("oracle")


def test_postgres_is_known_by_url_data_directory_and_name(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("18\n")
    kinds = {engine_for(one).kind for one in ("postgresql+psycopg://localhost/gym", "postgres://h/gym", str(tmp_path))}
    assert kinds == {engine_named("postgres").kind} == {"postgres"}


def test_sqlite_is_known_by_url_path_and_name() -> None:
    assert (
        engine_for("sqlite:////srv/gym.db").kind == engine_for("gym.db").kind == engine_named("sqlite").kind == "sqlite"
    )
