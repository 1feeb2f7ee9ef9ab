"""Where a run took place, as far as its figures depend on it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("gymkhana", "sqlalchemy", "fastapi", "granian", "locust")


def describe() -> dict[str, str]:
    """Names and values for the report's last table; what cannot be told is left out."""
    import pysqlite3.dbapi2 as sqlite

    told = {
        "python": platform.python_version(),
        "sqlite": f"{sqlite.sqlite_version} (pysqlite3)",
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }
    for package in PACKAGES:
        try:
            told[package] = version(package)
        except PackageNotFoundError:
            continue
    return told | _commit()


def _commit() -> dict[str, str]:
    here = Path(__file__).parent.parent
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {"commit": result.stdout.strip()} if result.returncode == 0 and result.stdout.strip() else {}
