"""Logs as SQLite writes them: every frame found, and everything that is no frame refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backups.sqlite import wal
from backups.sqlite.wal import BrokenLog, ShmHeader, WalHeader
from tests.backups import databases


@dataclass(frozen=True, slots=True)
class Log:
    """A database whose connection stays open, so that its log stays, and descriptors of the two files beside it."""

    database: Any
    wal: int
    shm: int

    @property
    def header(self) -> WalHeader:
        return wal.read_header(os.pread(self.wal, wal.HEADER_BYTES, 0))

    @property
    def index(self) -> ShmHeader:
        found = ShmHeader.read(self.index_bytes)
        assert found is not None
        return found

    @property
    def index_bytes(self) -> bytes:
        return os.pread(self.shm, wal.SHM_BYTES, 0)


@contextmanager
def log(path: Path, page_size: int = 4096) -> Iterator[Log]:
    """A fresh database with one table, and its first row in the log."""
    with closing(databases.connect(path)) as database:
        database.execute(f"PRAGMA page_size = {page_size}")
        database.execute("CREATE TABLE t (a)")
        database.execute("PRAGMA journal_mode = wal")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute("INSERT INTO t VALUES (randomblob(3000))")
        opened = [os.open(f"{path}{suffix}", os.O_RDWR) for suffix in ("-wal", "-shm")]
        yield Log(database, *opened)
    for descriptor in opened:
        os.close(descriptor)


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_log_and_index_agree_on_every_page_size(tmp_path: Path, page_size: int) -> None:
    with log(tmp_path / "db", page_size) as made:
        made.database.execute("INSERT INTO t VALUES (randomblob(200000))")
        found = list(wal.frames(made.wal, made.header, 1, made.index.mx_frame))
        assert made.header.page_size == made.index.page_size == page_size
        assert made.header.salts == made.index.salts
        assert found[-1].checksum == made.index.frame_checksum
        assert found[-1].units_after_commit == made.index.n_page
        assert made.index.backfilled == 0
        assert made.database.execute("PRAGMA page_count").fetchone() == (made.index.n_page,)


def test_commits_are_found_and_proven_without_the_index(tmp_path: Path) -> None:
    with log(tmp_path / "db") as made:
        for _ in range(5):
            made.database.execute("INSERT INTO t VALUES (randomblob(9000))")
        commits = list(wal.committed(made.wal, made.header))
        assert len(commits) == 6
        assert all(commit[-1].units_after_commit for commit in commits)
        assert not any(frame.units_after_commit for commit in commits for frame in commit[:-1])
        by_index = list(wal.frames(made.wal, made.header, 1, made.index.mx_frame))
        assert [frame for commit in commits for frame in commit] == by_index
        assert [frame.number for frame in by_index] == list(range(1, made.index.mx_frame + 1))


def test_the_page_of_a_frame_is_the_page_of_the_database(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with log(path) as made:
        *_, last = wal.frames(made.wal, made.header, 1, made.index.mx_frame)
        page = os.pread(made.wal, 4096, last.offset + wal.FRAME_HEADER_BYTES)
        made.database.execute("PRAGMA wal_checkpoint")
        assert made.index.backfilled == made.index.mx_frame
    assert path.read_bytes()[(last.page - 1) * 4096 : last.page * 4096] == page


def test_every_commit_changes_the_index(tmp_path: Path) -> None:
    with log(tmp_path / "db") as made:
        before = made.index
        assert made.index == before
        made.database.execute("UPDATE t SET a = 1")
        assert made.index.change == before.change + 1


def test_a_new_use_of_the_log_has_the_next_salt_and_leaves_old_frames_behind_it(tmp_path: Path) -> None:
    with log(tmp_path / "db") as made:
        made.database.execute("INSERT INTO t VALUES (randomblob(90000))")
        before = (made.header, made.index)
        made.database.execute("PRAGMA wal_checkpoint")
        made.database.execute("UPDATE t SET a = 1 WHERE rowid = 1")
        assert made.header.salts[0] == before[0].salts[0] + 1
        assert made.index.mx_frame < before[1].mx_frame
        assert [frame.number for frame in next(wal.committed(made.wal, made.header))] == [1]
        assert len(list(wal.committed(made.wal, made.header))) == 1
        with pytest.raises(BrokenLog, match=r"Frame 2 of the log is from another use of it"):
            list(wal.frames(made.wal, made.header, 1, before[1].mx_frame))


def test_frames_past_the_end_are_refused(tmp_path: Path) -> None:
    with log(tmp_path / "db") as made:
        last = made.index.mx_frame
        with pytest.raises(BrokenLog, match=f"The log ends before frame {last + 1}, and {last + 2} are needed"):
            list(wal.frames(made.wal, made.header, 1, last + 2))


@pytest.mark.parametrize("offset", [0, 4, 8, 23, 24, 100, 24 + 4095])
def test_a_bit_flipped_in_a_frame_ends_what_is_proven(tmp_path: Path, offset: int) -> None:
    with log(tmp_path / "db") as made:
        made.database.execute("INSERT INTO t VALUES (1)")
        commits = list(wal.committed(made.wal, made.header))
        at = commits[-1][-1].offset + offset
        (byte,) = os.pread(made.wal, 1, at)
        os.pwrite(made.wal, bytes([byte ^ 1]), at)
        assert list(wal.committed(made.wal, made.header)) == commits[:-1]


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (0, "does not begin with the header"),
        (7, "does not begin with the header"),
        (9, "there are none of that size"),
        (12, "another checksum"),
        (31, "another checksum"),
    ],
)
def test_a_header_with_a_bit_flipped_is_refused(tmp_path: Path, offset: int, words: str) -> None:
    with log(tmp_path / "db") as made:
        content = bytearray(os.pread(made.wal, wal.HEADER_BYTES, 0))
    content[offset] ^= 2
    with pytest.raises(BrokenLog, match=words):
        wal.read_header(bytes(content))


def test_an_empty_log_has_no_header(tmp_path: Path) -> None:
    with pytest.raises(BrokenLog, match="has 0 bytes"):
        wal.read_header(b"")


@pytest.mark.parametrize("offset", [8, 12, 16, 24, 32, 40, 48, 60, 95])
def test_an_index_half_written_is_no_index(tmp_path: Path, offset: int) -> None:
    with log(tmp_path / "db") as made:
        content = bytearray(made.index_bytes)
    content[offset] ^= 1
    assert ShmHeader.read(bytes(content)) is None


def test_an_index_never_written_is_no_index() -> None:
    assert ShmHeader.read(b"") is None
    assert ShmHeader.read(bytes(wal.SHM_BYTES)) is None


def test_an_index_of_another_version_is_refused(tmp_path: Path) -> None:
    with log(tmp_path / "db") as made:
        header = bytearray(made.index_bytes[:40])
    header[:4] = (3_007_001).to_bytes(4, "little")
    own = wal.checksum(False, bytes(header), (0, 0))
    header += b"".join(word.to_bytes(4, "little") for word in own)
    with pytest.raises(BrokenLog, match="version 3007001"):
        ShmHeader.read(bytes(header * 2) + bytes(4))


def test_the_checksum_runs_on_over_pieces() -> None:
    data = os.urandom(64)
    whole = wal.checksum(True, data, (1, 2))
    assert wal.checksum(True, data[24:], wal.checksum(True, data[:24], (1, 2))) == whole
    assert wal.checksum(False, data, (1, 2)) != whole
