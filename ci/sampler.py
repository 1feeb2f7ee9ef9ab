"""The service's figures, once a second: those that anyone could scrape, and the cores each of its processes used."""

from __future__ import annotations

import http.client
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil

INTERVAL_S = 1.0
TIMEOUT_S = 2.0
COUNTED_WITHIN_S = 0.5
"""The service counts what it has to deliver twice in that time."""

_LINE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Page = dict[str, list[tuple[dict[str, str], float]]]
Processes = Callable[[], Mapping[str, int]]
"""Names and pids of the service's processes as they are now."""


class Sampler:
    """Scrapes `host:port/metrics` into `path` until stopped. A second without an answer leaves a line that says so.

    The cores of the `processes` are measured whether the service answers or not.
    """

    def __init__(self, host: str, port: int, path: Path, processes: Processes = dict) -> None:
        self._host = host
        self._port = port
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._buckets: dict[float, float] = {}
        self._cores = Cores(processes)
        self.connections: int | None = None
        self._outbox: tuple[float, int | None] = (0.0, None)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._file)

    def delivered(self, since: float) -> bool:
        """Whether nothing was left to deliver when the service was asked after `since`, on the monotonic clock.

        It counts what is left a few times a second, so one that was asked sooner may not know of the newest.
        """
        asked, pending = self._outbox
        return asked > since + COUNTED_WITHIN_S and pending == 0

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            sample = self._sample(began)
            self.connections = sample["connections"]
            self._outbox = (began, sample["outbox_pending"])
            os.write(self._file, msgspec.json.encode(sample) + b"\n")
            self._stop.wait(max(0.0, began + INTERVAL_S - time.monotonic()))

    def _sample(self, now: float) -> dict[str, Any]:
        page = self._scrape()
        cpu = self._cores.used(now)
        if page is None:
            self._buckets = {}
            empty = dict.fromkeys(
                ("connections", "ready", "database_p95_ms", "queue_depth", "requests", "outbox_pending", "shed")
            )
            return {"t": now, "memory": {}, "cpu": cpu, **empty}
        buckets = _buckets(page, "gymkhana_database_seconds_bucket")
        since = {edge: count - self._buckets.get(edge, 0.0) for edge, count in buckets.items()}
        self._buckets = buckets
        p95 = histogram_quantile(since, 0.95)
        return {
            "t": now,
            "memory": {labels["process"]: int(value) for labels, value in page.get("gymkhana_memory_bytes", ())},
            "connections": _whole(_total(page, "gymkhana_open_connections")),
            "ready": _whole(_total(page, "gymkhana_ready")),
            "database_p95_ms": None if p95 is None else p95 * 1000,
            "queue_depth": _whole(_total(page, "gymkhana_lane_depth")),
            "requests": _whole(_total(page, "gymkhana_requests_total")),
            "outbox_pending": _whole(_total(page, "gymkhana_outbox_pending")),
            # Nothing was refused before the first refusal makes the counter appear.
            "shed": _whole(_total(page, "gymkhana_lane_shed_total") or 0.0),
            "cpu": cpu,
        }

    def _scrape(self) -> Page | None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", "/metrics", headers={"Connection": "close"})
            response = connection.getresponse()
            return parse(response.read().decode()) if response.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


class Cores:
    """Cores that each of some processes used since it was last asked about."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._before: dict[int, tuple[float, float]] = {}

    def used(self, now: float) -> dict[str, float]:
        """By name, as of the monotonic instant `now`; a process seen for the first time is left out."""
        found: dict[str, float] = {}
        seen: dict[int, tuple[float, float]] = {}
        for name, pid in self._processes().items():
            try:
                times = psutil.Process(pid).cpu_times()
            except psutil.Error:
                continue  # it has ended since it was named
            seen[pid] = now, float(times.user + times.system)
            if (before := self._before.get(pid)) is not None and now > before[0]:
                found[name] = (seen[pid][1] - before[1]) / (now - before[0])
        self._before = seen
        return found


def parse(text: str) -> Page:
    """A Prometheus text page as name -> [(labels, value)]."""
    page: Page = defaultdict(list)
    for name, labels, value in _LINE.findall(text):
        page[name].append((dict(_LABEL.findall(labels)), float(value)))
    return page


def histogram_quantile(buckets: dict[float, float], q: float) -> float | None:
    """The quantile by linear interpolation inside its bucket, as Prometheus does it; None when nothing was counted.

    `buckets` maps upper edges to cumulative counts and includes infinity. A value beyond the last finite edge is that edge.
    """
    edges = sorted(buckets)
    if not edges or buckets[edges[-1]] <= 0:
        return None
    rank = q * buckets[edges[-1]]
    below_edge, below_count = 0.0, 0.0
    for edge in edges:
        if buckets[edge] >= rank:
            if edge == float("inf"):
                return below_edge
            inside = buckets[edge] - below_count
            return below_edge + (edge - below_edge) * ((rank - below_count) / inside if inside else 1.0)
        below_edge, below_count = edge, buckets[edge]
    return below_edge


def _buckets(page: Page, name: str) -> dict[float, float]:
    totals: dict[float, float] = defaultdict(float)
    for labels, value in page.get(name, ()):
        totals[float(labels["le"])] += value
    return dict(totals)


def _total(page: Page, name: str) -> float | None:
    rows = page.get(name)
    return sum(value for _, value in rows) if rows else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
