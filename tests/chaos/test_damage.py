"""Damage is decided from a seed, does what it says, and aims by the file format as SQLite itself has it."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos import damage, put_back, sqlite_format, sqlite_process
from chaos.damage import Damage, Stroke
from chaos.errors import NothingToBreak
from tests.chaos import stand_in
from tests.chaos.stand import Stand

SPANS = [(0, 100), (100, 100), (200, 100), (300, 100)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(random.Random(1).randbytes(300) + bytes(100))
    return path


def flips(path: Path, seed: int) -> Damage:
    return damage.bit_flips(damage.reader(path), SPANS, 5, random.Random(seed))


def zeros(path: Path, seed: int) -> Damage:
    return damage.zeros(damage.reader(path), SPANS, 2, random.Random(seed))


def garbage(path: Path, seed: int) -> Damage:
    return damage.garbage(damage.reader(path), 400, 7, random.Random(seed))


@pytest.mark.parametrize("decide", [flips, zeros, garbage])
def test_damage_is_repeatable_and_happens(file: Path, decide: Callable[[Path, int], Damage]) -> None:
    done = decide(file, 7)
    assert decide(file, 7) == done
    assert len({decide(file, seed) for seed in range(5)}) > 1
    assert not damage.happened(done, file), "not before it was done"
    damage.apply(done, file)
    assert damage.happened(done, file)
    assert file.stat().st_size == 400


def test_a_bit_flip_changes_one_bit_of_a_byte(file: Path) -> None:
    for stroke in flips(file, 2).strokes:
        assert (stroke.before[0] ^ stroke.after[0]).bit_count() == 1


def test_what_is_zero_already_is_not_zeroed(file: Path) -> None:
    done = damage.zeros(damage.reader(file), SPANS, 4, random.Random(1))
    assert sorted(done.offsets) == [0, 100, 200]


def test_garbage_changes_every_byte_and_no_more_than_there_are(file: Path) -> None:
    (stroke,) = damage.garbage(damage.reader(file), 400, 10_000, random.Random(1)).strokes
    assert (stroke.offset, len(stroke.after)) == (0, 400)
    assert all(a != b for a, b in zip(stroke.before, stroke.after, strict=True))


def test_a_cut_happens_only_where_the_file_is_cut(file: Path) -> None:
    cut = Damage(size_bytes=120)
    assert not damage.happened(cut, file)
    damage.apply(cut, file)
    assert damage.happened(cut, file)
    assert cut.offsets == (120,)


def test_damage_that_was_overwritten_did_not_happen(file: Path) -> None:
    done = Damage((Stroke(0, file.read_bytes()[:1], b"?"),))
    damage.apply(done, file)
    file.write_bytes(b"!" + file.read_bytes()[1:])
    assert not damage.happened(done, file)


def test_pages_are_counted_as_sqlite_counts_them(stand: Stand) -> None:
    connection = stand_in.connect(stand.database)
    count = connection.execute("PRAGMA page_count").fetchone()[0]
    free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    connection.close()
    pages = sqlite_format.read_pages(stand.database)
    assert (pages.count, len(pages.free)) == (count, free)
    assert free > 0, "the test's database has free pages"
    assert len(pages.used) == count - free


def test_the_log_is_read_as_sqlite_reads_it(serving: Stand) -> None:
    """Every frame that SQLite accepts is seen, with its page."""
    for process in serving.processes().values():
        process.signal(signal.SIGKILL)
    log = sqlite_format.read_log(put_back.sibling(serving.database, "-wal"))
    assert log is not None
    assert log.page_bytes == sqlite_format.read_pages(serving.database).size_bytes
    assert len(log.frames) >= sqlite_process.frames_accepted(serving.database) > 0
    # Asking moved the log's last commit into the main file.
    assert log.page_count == sqlite_format.read_pages(serving.database).count


def test_no_log_is_no_frames(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"7")
    (tmp_path / "other").write_bytes(bytes(100))
    assert [sqlite_format.read_log(tmp_path / name) for name in ("missing", "short", "other")] == [None] * 3


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"hello" * 100])
def test_what_is_not_sqlite_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NothingToBreak, match="not a SQLite database"):
        sqlite_format.read_pages(path)
