"""How much of what can be repeated for ever is repeated: some of it in every run, far more in `make soak`."""

from __future__ import annotations

import os

LONG = os.environ.get("GYM_SOAK") == "1"


def rounds(usual: int, long: int) -> int:
    """How many rounds this run makes of something."""
    return long if LONG else usual
