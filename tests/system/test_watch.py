"""The watch tells a file that is still ours from one that was removed or replaced, and a fatal error from a passing one."""

from __future__ import annotations

from pathlib import Path

import pysqlite3.dbapi2 as sqlite
import pytest

from system import watch


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "gym.db"
    connection = sqlite.connect(path)
    connection.execute("CREATE TABLE t (a)")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.commit()
    connection.close()
    return path


def error_of(path: Path, sql: str = "SELECT * FROM t") -> sqlite.Error:
    connection = sqlite.connect(path, timeout=0)
    try:
        with pytest.raises(sqlite.Error) as caught:
            connection.execute(sql)
    finally:
        connection.close()
    return caught.value


def test_an_untouched_file_is_no_trouble(database: Path) -> None:
    assert watch.FileIdentity.of(database).trouble() == ""


def test_a_removed_file_is_noticed(database: Path) -> None:
    identity = watch.FileIdentity.of(database)
    database.unlink()
    assert "removed" in identity.trouble()


def test_a_replaced_file_is_noticed_even_when_its_bytes_are_equal(database: Path) -> None:
    identity = watch.FileIdentity.of(database)
    twin = database.with_name("twin")
    twin.write_bytes(database.read_bytes())
    twin.replace(database)
    assert "replaced" in identity.trouble()


def test_garbage_is_fatal(database: Path) -> None:
    database.write_bytes(b"x" * 8192)
    assert watch.fatal(error_of(database)) == "is not a database any more"


def test_a_truncated_file_is_fatal(database: Path) -> None:
    with database.open("r+b") as file:
        file.truncate(4096)
    assert watch.fatal(error_of(database)) == "is damaged"


def test_a_held_lock_is_passing(database: Path) -> None:
    holder = sqlite.connect(database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    error = error_of(database, "INSERT INTO t VALUES (2)")
    holder.close()
    assert watch.transient(error)
    assert watch.fatal(error) == ""


def test_an_error_without_a_code_is_neither() -> None:
    assert watch.fatal(RuntimeError("x")) == ""
    assert not watch.transient(RuntimeError("x"))


def test_a_missing_table_is_its_own_trouble_and_an_interrupted_statement_is_not(database: Path) -> None:
    assert watch.of_one_table(error_of(database, "SELECT * FROM away"))
    connection = sqlite.connect(database)
    connection.set_progress_handler(lambda: 1, 1)
    with pytest.raises(sqlite.Error) as interrupted:
        connection.execute("SELECT count(*) FROM t")
    connection.close()
    assert not watch.of_one_table(interrupted.value)
