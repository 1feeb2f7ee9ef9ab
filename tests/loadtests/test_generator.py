"""Watching the generator: a process at work costs something, one that ended stops the watch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from loadtests.generator import GeneratorSample, GeneratorWatch, mean_cores, read_samples

Until = Callable[[Callable[[], bool]], None]


def test_busy_process_is_seen_working(tmp_path: Path, until: Until) -> None:
    """A loop uses most of a core; its memory is more than nothing."""
    path = tmp_path / "generator.jsonl"
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    watch = GeneratorWatch(busy.pid, path)
    try:
        until(lambda: len(read_samples(path)) >= 1)
    finally:
        busy.kill()
        busy.wait()
        watch.close()
    assert read_samples(path)[0].cpu > 0.1
    assert read_samples(path)[0].rss > 1 << 20


def test_watch_ends_with_its_process(tmp_path: Path) -> None:
    """There is nothing left to measure, and nothing breaks."""
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    GeneratorWatch(gone.pid, tmp_path / "generator.jsonl").close()
    assert read_samples(tmp_path / "generator.jsonl") == []


def test_closing_a_watch_ends_it_at_once(tmp_path: Path) -> None:
    """It does not wait for the next second."""
    watch = GeneratorWatch(os.getpid(), tmp_path / "generator.jsonl")
    watch.close()
    assert not watch._thread.is_alive()


def test_torn_last_sample_is_left_out(tmp_path: Path) -> None:
    """The watcher may be killed in the middle of a word."""
    path = tmp_path / "generator.jsonl"
    path.write_text('{"t":1.0,"cpu":0.5,"rss":10}\n{"t":2.0,"cp')
    assert read_samples(path) == [GeneratorSample(1.0, 0.5, 10)]
    assert read_samples(tmp_path / "nothing.jsonl") == []


def test_mean_cores_looks_only_between_the_instants() -> None:
    """Start-up costs much and says little."""
    samples = [GeneratorSample(1.0, 1.0, 1), GeneratorSample(2.0, 0.2, 1), GeneratorSample(3.0, 0.4, 1)]
    assert mean_cores(samples, 2.0, 3.0) == (0.2 + 0.4) / 2
    assert mean_cores(samples, 5.0, 6.0) is None
