"""Stores that would die with their database."""

from __future__ import annotations

from pathlib import Path

import pytest

from backups.errors import NotSeparate
from backups.stores.separation import require_separation, shared_fate


@pytest.mark.parametrize(
    ("store", "how"),
    [
        ("srv/db", "is the very directory of the database"),
        ("srv/db/backups", "lies below the directory of the database"),
        ("srv", "holds the directory of the database"),
        ("srv/elsewhere", "is on the same disk as the database"),
        ("not/made/yet", "is on the same disk as the database"),
    ],
)
def test_what_shares_the_databases_fate_is_told(tmp_path: Path, store: str, how: str) -> None:
    home = tmp_path / "srv" / "db"
    home.mkdir(parents=True)
    assert shared_fate(home / "gym.db", tmp_path / store) == how
    with pytest.raises(NotSeparate, match=rf"^The store {tmp_path / store} {how} .*--store.*--demo"):
        require_separation(home / "gym.db", tmp_path / store)


def test_a_link_does_not_hide_where_the_store_is(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "db")
    assert shared_fate(tmp_path / "db" / "gym.db", tmp_path / "link") == "is the very directory of the database"


def test_another_file_system_is_separate(tmp_path: Path) -> None:
    """/proc stands for the other disk: any machine has it, and it is never the one that holds this directory."""
    assert shared_fate(tmp_path / "gym.db", Path("/proc")) == ""
    require_separation(tmp_path / "gym.db", Path("/proc"))
