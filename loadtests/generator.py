"""What the load generator itself costs, once a second: one that is out of breath measures itself, not the service."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

INTERVAL_S = 1.0
SATURATED_CORES = 0.9
"""All our generators but k6 run on one core; above this share of it their latencies are partly their own."""


class GeneratorSample(msgspec.Struct, frozen=True):
    """Cores used since the sample before and resident memory in bytes, at `t` (monotonic seconds).

    Of several processes both are sums, and `busiest` is what the one at work most used of the core it can have.
    """

    t: float
    cpu: float
    rss: int
    busiest: float | None = None


class GeneratorWatch:
    """Writes a sample of the process `pid` and of those it started to `path` every second.

    It ends with the process, or when it is closed.
    """

    def __init__(self, pid: int, path: Path) -> None:
        self._pid = pid
        self._path = path
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="generator-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No further sample is written."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            process = psutil.Process(self._pid)
            before_t, (before_s, _) = time.monotonic(), _cost(process)
            with self._path.open("ab", buffering=0) as file:
                while not self._closed.wait(INTERVAL_S):
                    t, (used_s, rss) = time.monotonic(), _cost(process)
                    cores = [(used - before_s.get(pid, used)) / (t - before_t) for pid, used in used_s.items()]
                    sample = GeneratorSample(t, sum(cores), rss, max(cores))
                    file.write(msgspec.json.encode(sample) + b"\n")
                    before_t, before_s = t, used_s
        except psutil.Error:
            return  # the generator has ended, and with it what there is to measure


def read_samples(path: Path) -> list[GeneratorSample]:
    """The samples in the file; none when there is no file, or no second has passed."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    return msgspec.json.Decoder(GeneratorSample).decode_lines(data[: data.rfind(b"\n") + 1])


def mean_cores(samples: Sequence[GeneratorSample], begin: float, end: float) -> float | None:
    """Cores the generator used between two instants, on average; None without a sample there."""
    inside = [sample.cpu for sample in samples if begin <= sample.t <= end]
    return sum(inside) / len(inside) if inside else None


def mean_busiest(samples: Sequence[GeneratorSample], begin: float, end: float) -> float | None:
    """What the busiest process of the generator used of a core between two instants; None without a sample there."""
    inside = [
        sample.cpu if sample.busiest is None else sample.busiest for sample in samples if begin <= sample.t <= end
    ]
    return sum(inside) / len(inside) if inside else None


def _cost(process: psutil.Process) -> tuple[dict[int, float], int]:
    """Seconds of every process of the generator so far, and the memory of all. Raises psutil.Error when it has ended."""
    used_s: dict[int, float] = {}
    rss = 0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
            used_s[one.pid] = float(times.user + times.system)
            rss += one.memory_info().rss
        except psutil.Error:
            if one is process:
                raise
    return used_s, rss
