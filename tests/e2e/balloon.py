"""A companion of the service that holds as many megabytes as a file says, for tests: `python -m tests.e2e.balloon`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from system.processes import end_with_parent


def main() -> None:
    """Runs until killed. The file `balloon` in the runtime directory holds a number of megabytes."""
    end_with_parent()
    order = Path(os.environ["GYM_RUNTIME"], "balloon")
    held = b""
    while True:
        wanted = int(order.read_text() or 0) if order.exists() else 0
        if len(held) != wanted << 20:
            held = b""
            held = b"\1" * (wanted << 20)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
