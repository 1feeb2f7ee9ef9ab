"""Who has a file open."""

from __future__ import annotations

import os
from pathlib import Path

from backups.sqlite.holders import holders_of


def test_nobody_has_a_file_open_that_does_not_exist(tmp_path: Path) -> None:
    assert holders_of([tmp_path / "none"]) == ()


def test_our_own_process_counts(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("w"):
        (holder,) = holders_of([path])
    assert (holder.pid, holder.path) == (os.getpid(), path)
    assert str(holder).startswith(f"process {os.getpid()} (")
    assert "\n" not in str(holder)
    assert holders_of([path]) == ()


def test_a_file_is_known_by_its_inode_under_any_name(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.touch()
    os.link(path, other)
    with other.open():
        assert [holder.pid for holder in holders_of([path])] == [os.getpid()]


def test_a_deleted_file_is_known_by_the_name_it_had(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("w"):
        path.unlink()
        assert [holder.pid for holder in holders_of([path])] == [os.getpid()]
        path.write_text("a new one under the old name")
        assert [holder.pid for holder in holders_of([path])] == [os.getpid()]
