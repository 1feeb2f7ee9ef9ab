"""Prometheus' own promtool, asked whether it would take what we wrote; part of Debian's package prometheus."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path


def available() -> bool:
    """Whether it is here."""
    return shutil.which("promtool") is not None


def refusal(rules: str) -> str | None:
    """What it has against that rules file, empty when nothing; None when it is not here to be asked."""
    if not available():
        return None
    with tempfile.TemporaryDirectory(prefix="gymkhana-rules-") as place:
        path = Path(place, "gymkhana.rules.yml")
        path.write_text(rules, "utf-8")
        done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else " ".join((done.stderr or done.stdout).replace(f"{place}/", "").split())
