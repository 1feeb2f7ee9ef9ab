"""The file of the alerts: always whole, never growing, and written on a disk on which nothing else fits."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from system.alerts.kept import ROOM_BYTES, Kept


def test_what_was_written_last_is_there_and_no_third_file(tmp_path: Path) -> None:
    path = tmp_path / "alerts" / "alerts.json"
    kept = Kept(path)
    for number in range(5):
        kept.write(json.dumps({"number": number, "more": "x" * (1000 * (5 - number))}).encode())
        assert json.loads(path.read_bytes())["number"] == number
        assert path.stat().st_size == ROOM_BYTES
    assert len(list(path.parent.iterdir())) == 2


def test_it_grows_and_shrinks_in_whole_steps(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "a.json")
    for size in (10, 40_000, 10, 10):
        kept.write(json.dumps("x" * size).encode())
        assert len(json.loads((tmp_path / "a.json").read_bytes())) == size
    assert (tmp_path / "a.json").stat().st_size == ROOM_BYTES


def test_what_a_killed_writer_left_is_no_obstacle(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "a.json")
    kept.write(b"1")
    (tmp_path / ".a.json.old").hardlink_to(tmp_path / "a.json")
    (tmp_path / ".a.json.next").write_bytes(b"half of somethi")
    kept.write(b"2")
    assert json.loads((tmp_path / "a.json").read_bytes()) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a disk of its own needs the right to mount: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_is_no_obstacle_either(small_disk: Path) -> None:
    kept = Kept(small_disk / "alerts" / "alerts.json")
    kept.write(b"1")
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "another").write_bytes(b"x")
    for number in (2, 3, 4):
        kept.write(str(number).encode())
        assert json.loads((small_disk / "alerts" / "alerts.json").read_bytes()) == number
