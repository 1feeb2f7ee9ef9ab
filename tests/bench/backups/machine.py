"""The state that the machine is put into before anything is timed, and what is said about it."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

_BLOCK_BYTES = 16 << 20


def tire(directory: Path, size_bytes: int) -> tuple[float, float]:
    """Write and sync that much, so that a disk with a burst allowance has used it up; first and last MB/s of it.

    The bytes do not compress and are synced every 64 MB, as a disk that cheats on either would otherwise look rested.
    """
    path = directory / "tiring"
    block = os.urandom(_BLOCK_BYTES)
    rates = []
    with path.open("wb") as file:
        for _ in range(max(2, size_bytes // (4 * _BLOCK_BYTES))):
            began = time.perf_counter()
            for _ in range(4):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            rates.append(4 * _BLOCK_BYTES / 1e6 / (time.perf_counter() - began))
    path.unlink()
    eighth = max(1, len(rates) // 8)
    return _mean(rates[:eighth]), _mean(rates[-eighth:])


def settle(*files: Path) -> None:
    """Nothing dirty is left to be written, and these files are in the page cache."""
    os.sync()
    for file in files:
        with file.open("rb", buffering=0) as opened:
            while opened.read(_BLOCK_BYTES):
                pass


def described() -> dict[str, str]:
    """What a figure needs beside it to mean anything."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return {
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load average at the start": load,
    }


def _mean(rates: list[float]) -> float:
    return len(rates) / sum(1 / rate for rate in rates)
