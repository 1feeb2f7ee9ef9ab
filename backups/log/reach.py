"""How far one backup leads: which instants and positions the log that was shipped behind it comes to.

taken ────── begins ═══════════════ ends          segments before + 1 … after … the last good one
  the backup is   every instant can   of what is behind a fault nobody knows, so from
  whole from here  be reached exactly  there on instants are refused; without one they give the end
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backups.clock import parse
from backups.format.manifest import LogSpan, Manifest
from backups.log.course import instant_of
from backups.log.runs import Run, Runs


@dataclass(frozen=True, slots=True)
class Reach:
    """A backup that knows its place in the log, and the good segments behind it. `run` begins at `before` + 1."""

    manifest: Manifest
    before: int
    after: int
    run: Run

    @property
    def begins(self) -> datetime | None:
        """The first instant that it leads to, None when the log breaks off before the backup is whole."""
        taken = parse(self.manifest.taken)
        if self.after <= self.before:
            return taken
        if not self.whole:
            return None
        return max(taken, instant_of(self.run.headers[self.after - self.before - 1]))

    @property
    def whole(self) -> bool:
        """Whether the log comes to where the backup is consistent with it."""
        return self.before + len(self.run.headers) >= self.after

    @property
    def ends(self) -> datetime:
        """When the last good segment was read, or the backup was taken if that is later or there is none."""
        taken = parse(self.manifest.taken)
        return max(taken, instant_of(self.run.headers[-1])) if self.run.headers else taken

    @property
    def furthest(self) -> int | None:
        """How far the application had come by the end, None when the log does not tell."""
        told = [header.position for header in self.run.headers if header.position is not None]
        return told[-1] if told else None

    def blocked_at(self, instant: datetime) -> bool:
        """Whether a fault lies between the backup and what had been shipped by then."""
        if not self.run.fault or parse(self.manifest.taken) > instant:
            return False
        return not self.run.headers or instant_of(self.run.headers[-1]) <= instant

    def segments_by(self, instant: datetime) -> int | None:
        """How many segments hold what had been shipped by then; None when the backup does not lead there."""
        begins = self.begins
        if begins is None or instant < begins or self.blocked_at(instant):
            return None
        return sum(instant_of(header) <= instant for header in self.run.headers)


def reach_of(manifest: Manifest, runs: Runs) -> Reach | None:
    """How far it leads through the log, None when it does not know its place there."""
    span = span_of(manifest)
    if span is None or span.after is None:
        return None
    return Reach(manifest, span.before, span.after, runs.run(span.generation, span.before + 1))


def span_of(manifest: Manifest) -> LogSpan | None:
    """Where the backup lies in the log, None when it cannot be told."""
    return manifest.log if manifest.log is not None and manifest.log.after is not None else None
