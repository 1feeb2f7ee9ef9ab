"""How long the writer waits for more jobs before a commit: a group commit is as cheap as its groups are large.

A commit costs several times what a job does, and while it is made the next jobs gather; but on a quick disk few do. So while
jobs come thick and from several clients, batches begin at a pace. A client that waits for its answer before it writes again
has nothing there when that answer leaves, and so never waits for others, however quick it is.
"""

from __future__ import annotations

from typing import Final

PACE_S: Final = 0.002
"""While jobs come thick, a batch begins no sooner than this after the one before it."""
THICK_S: Final = PACE_S / 2
"""Jobs that are less than this apart come thick: two of them and more within the pace."""
SEVERAL: Final = 0.25
"""In company are jobs of which this share of batches finds some, as soon as the one before it is answered."""
_THIN_S: Final = 0.01
_OF_LATE: Final = 1 / 8


class Gathering:
    """The gap between jobs, and the company they were in, as both were of late."""

    def __init__(self) -> None:
        self._gap_s = _THIN_S
        self._company = 0.0
        self._began = float("-inf")

    def began(self, arrived: int, company: bool, now: float) -> None:
        """A batch begins; so many jobs have arrived since the one before it began.

        They are in `company` when some of them were there already as soon as that one was answered.
        """
        if arrived:
            gap_s = min(_THIN_S, (now - self._began) / arrived)
            self._gap_s += (gap_s - self._gap_s) * min(1.0, arrived * _OF_LATE)
        self._company += (company - self._company) * _OF_LATE
        self._began = now

    def pause_s(self, now: float) -> float:
        """How much later the next batch should begin."""
        if self._company < SEVERAL or self._gap_s >= THICK_S:
            return 0.0
        return max(0.0, self._began + PACE_S - now)
