"""A service that writes: 200 durable commits a second in a process of its own, and how long each took.

A write is due at its time whether or not the one before it is done, and its latency counts from then: a stall is felt by
everyone whose turn came during it.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.bench.backups.events import add_event, connect

PER_SECOND = 200
ROOT = Path(__file__).parents[3]


@dataclass
class Writes:
    """Each write as (when it was due, seconds until it was durable), on the monotonic clock; filled when it ends."""

    samples: list[tuple[float, float]] = field(default_factory=list)

    def latencies(self, begin_t: float, end_t: float) -> list[float]:
        """Of those that were due within the stretch."""
        return [latency for due, latency in self.samples if begin_t <= due < end_t]


@contextmanager
def writing(database: Path) -> Iterator[Writes]:
    """The writer is at work for the block; what it measured is there after it."""
    command = [sys.executable, "-m", "tests.bench.backups.writer", str(database)]
    writes = Writes()
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        try:
            yield writes
        except BaseException:
            process.kill()
            raise
        told, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"The writer ended with {process.returncode}.")
    writes.samples = [(due, latency) for due, latency in json.loads(told)]


def percentile(latencies: Sequence[float], share: float) -> float:
    """The smallest latency that this share of the writes did not exceed."""
    ordered = sorted(latencies)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def main() -> None:
    """Write until stdin ends and everything that was due by then is written, then tell."""
    ended = threading.Event()
    end_t = math.inf

    def wait_for_the_end() -> None:
        nonlocal end_t
        sys.stdin.read()
        end_t = time.monotonic()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    samples = []
    with closing(connect(Path(sys.argv[1]))) as database:
        add_event(database, 0)
        print("writing", flush=True)
        began = time.monotonic()
        for number in count(1):
            due = began + number / PER_SECOND
            ended.wait(max(0.0, due - time.monotonic()))
            if due > end_t:
                break
            add_event(database, number)
            samples.append((due, time.monotonic() - due))
    print(json.dumps(samples))


if __name__ == "__main__":
    main()
