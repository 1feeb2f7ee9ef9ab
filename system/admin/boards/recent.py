"""The service's own figures of the last hour, in memory: what can be shown of it while its database is away.

    metrics.Page ── every five seconds, and when a board is looked at ── readings ── rates, percentiles, charts

The figures are those of `/metrics`, the other HTTP processes' included.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from prometheus_client.metrics_core import Metric

from system.alerts.ring import quantile
from system.metrics import Page

EVERY_S = 5.0
PLACES = 720
FRESH_S = 0.5
"""How old the newest reading may be for whoever looks."""
_ASIDE = ("/health/", "/metrics")
"""Routes that people and machines look at the service by; they are in no figure."""

Buckets = Mapping[float, float]
"""How many took at most so many seconds, by that bound."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the figures were at an instant, in seconds since the epoch. What counts up counts from the processes' begin."""

    at: float
    requests: float = 0.0
    refused: float = 0.0
    failed: float = 0.0
    shed: float = 0.0
    took: Buckets = field(default_factory=dict)
    database: Mapping[str, Buckets] = field(default_factory=dict)
    memory: Mapping[str, float] = field(default_factory=dict)
    depth: Mapping[str, float] = field(default_factory=dict)
    limit: Mapping[str, float] = field(default_factory=dict)


def reading(families: Iterable[Metric], at: float) -> Reading:
    """The figures of a page."""
    requests = refused = failed = shed = 0.0
    took: defaultdict[float, float] = defaultdict(float)
    database: defaultdict[str, defaultdict[float, float]] = defaultdict(lambda: defaultdict(float))
    memory: dict[str, float] = {}
    depth: defaultdict[str, float] = defaultdict(float)
    limit: dict[str, float] = {}
    for one in (sample for family in families for sample in family.samples):
        labels = one.labels
        match one.name:
            case "gymkhana_requests_total" if not labels["route"].startswith(_ASIDE):
                requests += one.value
                refused += one.value * labels["status"].startswith("4")
                failed += one.value * labels["status"].startswith("5")
            case "gymkhana_request_seconds_bucket" if not labels["route"].startswith(_ASIDE):
                took[float(labels["le"])] += one.value
            case "gymkhana_database_seconds_bucket":
                database[labels["lane"]][float(labels["le"])] += one.value
            case "gymkhana_memory_bytes":
                memory[labels["process"]] = one.value
            case "gymkhana_lane_depth":
                depth[labels["lane"]] += one.value
            case "gymkhana_admission_limit":
                limit[labels["lane"]] = one.value
            case "gymkhana_lane_shed_total":
                shed += one.value
    return Reading(
        at, requests, refused, failed, shed, dict(took), {lane: dict(told) for lane, told in database.items()},
        memory, dict(depth), limit,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Between:
    """What happened between two readings."""

    seconds: float
    requests: float
    refused: float
    failed: float
    shed: float
    took: Buckets
    database: Mapping[str, Buckets]

    def per_second(self, count: float) -> float:
        return count / self.seconds if self.seconds > 0 else 0.0

    def share_failed(self) -> float | None:
        """In percent of all that were answered; None when nothing was."""
        return 100 * self.failed / self.requests if self.requests else None

    def took_ms(self, share: float) -> float | None:
        """What that share of the requests took at most; None when there were none."""
        return percentile_ms(self.took, share)

    def database_ms(self, lane: str, share: float) -> float | None:
        """The same of that lane's time in the database."""
        return percentile_ms(self.database.get(lane, {}), share)


def between(before: Reading, after: Reading) -> Between:
    """The difference. A count that went down is of a process that began anew: what it grew by is not known, and is none."""

    def grown(name: str) -> float:
        return max(0.0, float(getattr(after, name) - getattr(before, name)))

    lanes = {lane: _grown(before.database.get(lane, {}), told) for lane, told in after.database.items()}
    return Between(
        after.at - before.at,
        grown("requests"),
        grown("refused"),
        grown("failed"),
        grown("shed"),
        _grown(before.took, after.took),
        lanes,
    )


def percentile_ms(buckets: Buckets, share: float) -> float | None:
    """The percentile in milliseconds, taken to lie evenly within its bucket; None when nothing was counted."""
    found = quantile(share, buckets)
    return None if math.isnan(found) else found * 1000


class Recent:
    """The readings of the last hour. `run` takes them until cancelled."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._readings: deque[Reading] = deque(maxlen=PLACES)
        self._newest = Reading(float("-inf"))
        self._reading = asyncio.Lock()

    async def run(self) -> None:
        """Takes a reading every few seconds."""
        while True:
            self._readings.append(await self.now())
            await asyncio.sleep(EVERY_S)

    async def now(self) -> Reading:
        """The figures as they are, read at most twice a second however many look."""
        async with self._reading:
            if time.time() - self._newest.at > FRESH_S or self._newest.at > time.time():
                self._newest = await asyncio.to_thread(lambda: reading(self._page.collect(), time.time()))
        return self._newest

    def since(self, now: Reading, seconds: float) -> Between:
        """What happened in about the last so many seconds, or since the first reading when that is later."""
        known = list(self._readings)
        before = next((one for one in reversed(known) if now.at - one.at >= seconds), known[0] if known else now)
        return between(before, now)

    def readings(self) -> Sequence[Reading]:
        """Oldest first."""
        return tuple(self._readings)

    def steps(self) -> Iterator[tuple[Reading, Between]]:
        """Each reading but the first, with what happened since the one before."""
        for before, after in pairwise(self._readings):
            yield after, between(before, after)


def _grown(before: Buckets, after: Buckets) -> Buckets:
    return {bound: max(0.0, count - before.get(bound, 0.0)) for bound, count in after.items()}
