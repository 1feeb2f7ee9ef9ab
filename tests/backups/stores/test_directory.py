"""A store in a directory that others write to and delete from meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

from backups.stores.directory import DirectoryStore


def test_it_is_listed_while_objects_come_and_go(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    kept = [f"wal/{number:03}" for number in range(10)]
    for name in kept:
        store.create(name, (b"kept",))
    folder, ended = tmp_path / "wal", threading.Event()

    def come_and_go() -> None:
        while not ended.is_set():
            for number in range(20):
                (folder / f"passing-{number}").touch()
            for number in range(20):
                (folder / f"passing-{number}").unlink()

    passing = threading.Thread(target=come_and_go)
    passing.start()
    try:
        for _ in range(20):
            assert [one.name for one in store.list("wal/") if "passing" not in one.name] == kept
    finally:
        ended.set()
        passing.join()
