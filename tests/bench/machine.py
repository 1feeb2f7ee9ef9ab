"""The state that the machine is put into before anything is timed, and what is said about it."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import time
from pathlib import Path

_BLOCK_BYTES = 16 << 20


def tire(path: Path, size_bytes: int) -> float:
    """Write and sync that much to a new file, and return the MB/s of its last eighth: what the disk does when it is tired.

    The file is to be kept while anything is timed. A virtual disk writes blocks that were freed a moment ago several times
    as fast as others, so writing much and deleting it again would leave the disk livelier than it was. The bytes do not
    compress, and are synced every 64 MB.
    """
    block = os.urandom(_BLOCK_BYTES)
    rates = []
    with path.open("wb") as file:
        for _ in range(max(1, size_bytes // (4 * _BLOCK_BYTES))):
            began = time.perf_counter()
            for _ in range(4):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            rates.append(4 * _BLOCK_BYTES / 1e6 / (time.perf_counter() - began))
    return statistics.harmonic_mean(rates[-max(1, len(rates) // 8) :])


def require_room(place: Path, need_bytes: int) -> None:
    """End the program, saying so, when there is not that much room."""
    free_bytes = shutil.disk_usage(place).free
    if free_bytes < need_bytes:
        raise SystemExit(
            f"The benchmark needs {need_bytes / 1e9:.0f} GB and {place} has {free_bytes / 1e9:.0f} GB free; make it smaller."
        )


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
