"""Disks that say no."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from backups import disk
from backups.errors import NoSpace, StoreError
from backups.keeping import catalogue
from backups.verify import verify
from tests.backups import databases, limited
from tests.backups.house import House


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_running_full_is_one_plain_sentence(code: int) -> None:
    with pytest.raises(NoSpace, match=r"^The disk is full, so writing x to y was given up \(/y/x\); .*again\.$"):
        with disk.plainly("writing x to y"):
            raise OSError(code, os.strerror(code), "/y/x")


def test_other_failures_say_what_and_where() -> None:
    with pytest.raises(StoreError, match=r"^Writing x to y failed: Permission denied \(/y/x\)\.$"):
        with disk.plainly("writing x to y"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/y/x")


def test_a_filesystem_is_synced_by_any_of_its_files_and_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    disk.sync_filesystem(tmp_path)
    disk.sync_filesystem(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        disk.sync_filesystem(tmp_path / "nothing")


def test_room_is_asked_of_the_nearest_directory_that_exists(tmp_path: Path) -> None:
    assert disk.free_bytes(tmp_path / "not" / "yet") > 0
    disk.require_room(tmp_path, 10, "it", lambda _: 10)
    with pytest.raises(NoSpace, match=r"it needs 2\.0 MB and .* has 1\.0 MB free"):
        disk.require_room(tmp_path, 2_000_000, "it", lambda _: 1_000_000)


def test_a_durable_write_replaces_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    disk.write_durably(path, b"old")
    disk.write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def run_limited(verb: str, limit_bytes: int, house: House) -> str:
    command = [sys.executable, "-m", limited.__name__, verb, str(limit_bytes), str(house.database), house.store.address]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=databases.ROOT).stdout


def test_a_pack_that_the_kernel_cuts_short_makes_no_backup(house: House) -> None:
    with closing(databases.connect(house.database)) as database:
        database.execute("INSERT INTO notes (extra) VALUES (randomblob(100000))")  # which nothing can compress
    said = run_limited("backup", 36_000, house)  # above the 32 KiB of the -shm, below the pack
    assert said.startswith("NoSpace The disk is full"), said
    assert said.count("\n") == 1
    assert [entry.state for entry in catalogue.read(house.store).entries] == ["complete", "complete"]
    assert list((Path(house.store.address) / ".staging").iterdir()) == []
    assert verify(house.store).ok


def test_a_build_that_the_kernel_cuts_short_leaves_the_database_alone(house: House) -> None:
    before = sorted(house.database.parent.iterdir())
    said = run_limited("restore", 20_000, house)
    assert said.startswith(f"NoSpace The disk is full, so building {house.newer.id} was given up"), said
    assert sorted(house.database.parent.iterdir()) == before
    assert databases.contents(house.database) == house.now
