"""Images read raw beside writers: bit for bit what SQLite itself sees in the same transaction."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pysqlite3 import dbapi2 as sqlite

from backups.sqlite import image as sqlite_image
from backups.sqlite import wal
from backups.sqlite.engine import SqliteEngine
from backups.sqlite.image import Files, Image
from backups.sqlite.wal import BrokenLog
from tests.backups import busy, databases
from tests.backups.busy import Writer
from tests.backups.snapshots import take

pytestmark = pytest.mark.processes

OWN_BYTES = (slice(24, 28), slice(40, 44), slice(92, 100))
"""What the online backup writes into the copy's header of its own: change counter, schema cookie, version."""


def read_only(path: Path) -> Any:
    return sqlite.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=10)


@contextmanager
def pinned(path: Path) -> Iterator[tuple[Any, Image]]:
    with Files(path) as files, closing(read_only(path)) as connection:
        yield connection, sqlite_image.pin(connection, files)


def raw(image: Image) -> bytes:
    return b"".join(bytes(block) for block in image.blocks())


def online_backup(connection: Any, into: Path) -> bytes:
    """What SQLite's own backup makes of the transaction that the connection is in."""
    into.unlink(missing_ok=True)
    with closing(databases.connect(into)) as copy:
        connection.backup(copy, pages=-1)
    return into.read_bytes()


def assert_equal(image: bytes, backup: bytes) -> None:
    ours, theirs = bytearray(image), bytearray(backup)
    for content in (ours, theirs):
        for own in OWN_BYTES:
            content[own] = bytes(own.stop - own.start)
    assert len(ours) == len(theirs)
    if ours != theirs:
        at = next(at for at in range(len(ours)) if ours[at] != theirs[at])
        raise AssertionError(f"byte {at} differs")


def assert_whole(image: bytes, at: Path, acknowledged: int) -> None:
    """Sound, of one state, and with every operation that was acknowledged."""
    at.write_bytes(image)
    with closing(sqlite.connect(f"file:{at}?immutable=1", uri=True)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (count, last) = copy.execute("SELECT count(*), max(sequence) FROM operations").fetchone()
    assert count == last >= acknowledged


def look(path: Path, writer: Writer, into: Path) -> Image:
    """Read the image with commits going on in the middle of it, and hold it against SQLite's own."""
    with pinned(path) as (connection, image):
        content = b""
        for number, block in enumerate(image.blocks(block_bytes=65536)):
            content += bytes(block)
            if number in (0, 2):
                writer.wait_for_more(5)
        assert_equal(content, online_backup(connection, into))
    assert_whole(content, into, writer.newest_before(image.taken_t))
    return image


@pytest.mark.processes
def test_an_image_beside_a_writer_whose_log_only_grows(database: Path, tmp_path: Path) -> None:
    with busy.writing(database, autocheckpoint=0) as writer:
        for _ in range(8):
            assert look(database, writer, tmp_path / "copy").overlay


@pytest.mark.processes
@pytest.mark.parametrize("autocheckpoint", [1, 10, 200])
def test_images_beside_a_writer_that_checkpoints(database: Path, tmp_path: Path, autocheckpoint: int) -> None:
    """Some find all in the main file, some find the newest pages in the log, and every one is right."""
    with busy.writing(database, autocheckpoint=autocheckpoint, seed=autocheckpoint) as writer:
        for _ in range(12):
            look(database, writer, tmp_path / "copy")


@pytest.mark.processes
def test_an_image_beside_two_writers_that_checkpoint(database: Path, tmp_path: Path) -> None:
    other = database.with_name("other").absolute()
    other.mkdir()
    with busy.writing(database, autocheckpoint=20) as writer:
        second = [sys.executable, "-m", busy.__name__, str(database), str(other / "acknowledged"), "5", "2"]
        with subprocess.Popen(second, stdin=subprocess.PIPE, cwd=databases.ROOT) as process:
            try:
                for _ in range(8):
                    look(database, writer, tmp_path / "copy")
            finally:
                process.kill()


@pytest.mark.processes
def test_an_image_of_an_emptied_log_stays_while_new_frames_come(database: Path, tmp_path: Path) -> None:
    with closing(databases.connect(database)) as other:
        other.execute("INSERT INTO operations (id) VALUES ('in the log')")
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        with pinned(database) as (connection, image):
            assert image.overlay == {}
            with busy.writing(database, autocheckpoint=1) as writer:
                first = raw(image)
                writer.wait_for_more(50)
                assert raw(image) == first
                assert_equal(first, online_backup(connection, tmp_path / "copy"))


@pytest.mark.processes
def test_an_image_beside_a_writer_without_a_log_holds_it_off_and_is_whole(tmp_path: Path) -> None:
    database = databases.make(tmp_path / "gym.db", rows=500, journal="delete")
    with busy.writing(database) as writer:
        for _ in range(5):
            with pinned(database) as (connection, image):
                content = raw(image)
                assert_equal(content, online_backup(connection, tmp_path / "copy"))
            assert_whole(content, tmp_path / "copy", writer.newest_before(image.taken_t))
            writer.wait_for_more()


@pytest.mark.parametrize("page_size", [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536])
@pytest.mark.parametrize("state", ["closed", "grown", "shrunk", "partly in the main file"])
def test_every_page_size_in_every_state(tmp_path: Path, page_size: int, state: str) -> None:
    path = tmp_path / "gym.db"
    with closing(databases.connect(path)) as database:
        database.execute(f"PRAGMA page_size = {page_size}")
        database.execute("PRAGMA journal_mode = wal")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.executescript(databases.SCHEMA)
        databases.insert(database, 300)
        database.execute("INSERT INTO notes (extra) VALUES (randomblob(500000))")
        database.execute("PRAGMA wal_checkpoint")
        if state == "grown":
            databases.insert(database, 300)
            database.execute("INSERT INTO notes (extra) VALUES (randomblob(900000))")
        elif state == "shrunk":
            database.execute("DELETE FROM notes WHERE length(extra) > 100000")
            database.execute("VACUUM")
        elif state == "partly in the main file":
            with closing(read_only(path)) as reader:
                databases.insert(database, 30)
                reader.execute("BEGIN")
                reader.execute("SELECT * FROM notes").fetchone()
                databases.insert(database, 30)
                database.execute("PRAGMA wal_checkpoint")
        pages = path.stat().st_size // page_size
        if state == "closed":
            database.close()
        with pinned(path) as (connection, image):
            content = raw(image)
            assert image.unit_bytes == page_size
            assert {"grown": pages < image.units, "shrunk": pages > image.units}.get(state, True)
            assert bool(image.overlay) == (state != "closed")
            assert_equal(content, online_backup(connection, tmp_path / "copy"))


def test_a_page_that_was_never_written_is_zeros(tmp_path: Path) -> None:
    """SQLite's locks lie in the middle of this one; whatever some tool has put there is not the database's."""
    huge = tmp_path / "huge"
    page = 65536
    with huge.open("wb") as file:
        for number in range(16383, 16388):
            file.seek(number * page)
            file.write(bytes([number % 251]) * page)
    descriptor = os.open(huge, os.O_RDONLY)
    image = Image(descriptor, -1, page, 16390, 0.0)
    last = [bytes(block) for number, block in enumerate(image.blocks(block_bytes=page)) if number >= 16382]
    os.close(descriptor)
    filled = [block[0] if block == block[:1] * page else None for block in last]
    assert filled == [0, 16383 % 251, 0, 16385 % 251, 16386 % 251, 16387 % 251, 0, 0]


@pytest.mark.parametrize("lock_page", [1, 2, 7, 150])
def test_the_page_of_the_locks_is_zeros_in_any_block(tmp_path: Path, lock_page: int) -> None:
    path = databases.make(tmp_path / "gym.db", rows=8000)
    with pinned(path) as (_, image):
        content = raw(image)
        locked = b"".join(bytes(block) for block in image.blocks(40_000, lock_byte=(lock_page - 1) * 4096 + 5))
    assert image.units > 150
    at = (lock_page - 1) * 4096
    assert locked == content[:at] + bytes(4096) + content[at + 4096 :]


CHECKPOINT = """
import sys
from pathlib import Path
from contextlib import closing
from tests.backups import databases
with closing(databases.connect(Path(sys.argv[1]))) as database:
    database.execute("PRAGMA busy_timeout = 0")
    print(database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
"""


def refused(path: Path) -> bool:
    """Whether another process is kept from emptying the log."""
    command = [sys.executable, "-c", CHECKPOINT, str(path)]
    return subprocess.run(command, cwd=databases.ROOT, check=True, capture_output=True).stdout == b"1\n"


@pytest.mark.processes
def test_reading_raw_keeps_the_locks_of_the_transaction(database: Path) -> None:
    with databases.service(database, rows=10):
        with Files(database) as files:
            with closing(read_only(database)) as connection:
                raw(sqlite_image.pin(connection, files))
                assert refused(database)
            assert not refused(database)


@pytest.mark.processes
def test_closing_a_file_early_would_lose_the_locks(database: Path) -> None:
    """What the order of closing is there for: one descriptor closed, and the log is emptied under the transaction."""
    with databases.service(database, rows=10):
        with pinned(database):
            assert refused(database)
            os.close(os.open(f"{database}-shm", os.O_RDONLY))
            assert not refused(database)


def test_an_image_without_the_log_is_found_out(engine: SqliteEngine, database: Path, tmp_path: Path) -> None:
    """The planted bug: the pages in the log are forgotten. SQLite calls the copy sound; rows and position tell."""
    with databases.service(database, rows=10):
        honest = take(engine, database, tmp_path / "honest")
        with pinned(database) as (_, image):
            forgetful = Image(image.main, image.log, image.unit_bytes, image.units, image.taken_t)
            (tmp_path / "copy").write_bytes(raw(forgetful))
    assert engine.check(tmp_path / "honest", honest.facts, deep=True) == ()
    findings = engine.check(tmp_path / "copy", honest.facts, deep=True)
    assert findings, "found in one way or another"
    short = tmp_path / "short"
    short.write_bytes(database.read_bytes())
    findings = engine.check(short, honest.facts, deep=True)
    assert "Table operations has 200 rows, and the manifest says 210." in findings
    assert "The position is 200, and the manifest says 210." in findings


def test_a_log_that_is_not_what_its_index_says_is_refused(database: Path) -> None:
    with databases.service(database, rows=50):
        log = database.with_name("gym.db-wal")
        header = wal.read_header(log.read_bytes()[: wal.HEADER_BYTES])
        databases.poke(log, header.offset_of(3) + 8, b"\xff\xff")
        with pytest.raises(BrokenLog, match="Frame 3 of the log is from another use of it"):
            with pinned(database):
                pass


def test_a_last_frame_that_is_not_the_last_commit_is_refused(database: Path) -> None:
    with databases.service(database, rows=50):
        log = database.with_name("gym.db-wal")
        header = wal.read_header(log.read_bytes()[: wal.HEADER_BYTES])
        index = wal.ShmHeader.read(database.with_name("gym.db-shm").read_bytes())
        assert index is not None
        databases.poke(log, header.offset_of(index.mx_frame) + 16, b"\xff\xff\xff\xff")
        with pytest.raises(BrokenLog, match=f"Frame {index.mx_frame} of the log is not the commit"):
            with pinned(database):
                pass


def test_a_database_exchanged_while_it_is_opened_is_refused(database: Path, tmp_path: Path) -> None:
    other = databases.make(tmp_path / "other.db", rows=3)
    with Files(database) as files:
        other.replace(database)
        with closing(read_only(database)) as connection:
            with pytest.raises(BrokenLog, match=r"gym\.db was exchanged while it was being opened"):
                sqlite_image.pin(connection, files)


def test_an_index_that_never_rests_is_given_up(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_image, "_ATTEMPTS", 3)
    monkeypatch.setattr(Files, "index", lambda _: None)
    with pytest.raises(BrokenLog, match="never still long enough"):
        with pinned(database):
            pass


@pytest.mark.parametrize("look_at", [1, 2, 3])
@pytest.mark.parametrize("begun_anew", [False, True])
def test_a_commit_at_the_wrong_moment_makes_it_look_again(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look_at: int, begun_anew: bool
) -> None:
    """The index is looked at three times; a commit comes in just before one of the looks."""
    looks = 0
    honest = Files.index

    def disturbed(files: Files) -> wal.ShmHeader | None:
        nonlocal looks
        looks += 1
        if looks == look_at:
            other.execute("UPDATE notes SET text = 'meanwhile' WHERE id < 50")
        return honest(files)

    with closing(databases.connect(database)) as other:
        other.execute("PRAGMA wal_autocheckpoint = 0")
        databases.insert(other, 20)
        if begun_anew:
            other.execute("PRAGMA wal_checkpoint")
        monkeypatch.setattr(Files, "index", disturbed)
        with pinned(database) as (connection, image):
            assert_equal(raw(image), online_backup(connection, tmp_path / "copy"))
            assert looks == (3 if look_at == 1 else 6)
            assert image.overlay
