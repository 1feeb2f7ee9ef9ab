"""A writer with one planted bug: it acknowledges before the log is durable elsewhere, in synchronous mode too."""

from __future__ import annotations

import sys

from system import writer
from system.batch import Batches


def ship_later(_batches: Batches) -> str:
    """The bug: whoever ships will come round to it by himself."""
    return ""


if __name__ == "__main__":
    setattr(Batches, "ship", ship_later)  # noqa: B010
    sys.exit(writer.main())
