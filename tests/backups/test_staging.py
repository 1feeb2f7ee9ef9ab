"""Scratch directories: gone with their owner, and safe from others' sweeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from backups import staging


def test_a_directory_is_gone_after_a_failure_too(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with staging.directory(tmp_path / "staging", "work") as place:
            (place / "file").write_bytes(b"x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_sweep_removes_what_the_dead_left_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "work-dead").mkdir()
    (tmp_path / "work-dead" / "file").write_bytes(b"x")
    (tmp_path / "work-dead.held").write_bytes(b"")
    (tmp_path / "work-unheld").mkdir()
    (tmp_path / "lonely.held").write_bytes(b"")
    with staging.directory(tmp_path, "alive") as alive:
        assert staging.sweep(tmp_path) == ("lonely", "work-dead", "work-unheld")
        assert sorted(tmp_path.iterdir()) == [alive, alive.with_name(f"{alive.name}.held")]
    assert list(tmp_path.iterdir()) == []


def test_sweeping_where_nobody_ever_worked_is_fine(tmp_path: Path) -> None:
    assert staging.sweep(tmp_path / "none") == ()
