"""The service's own figures, once a second, as anyone could scrape them: memory, connections, database latency, queues."""

from __future__ import annotations

import http.client
import os
import re
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

INTERVAL_S = 1.0
TIMEOUT_S = 2.0

_LINE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Page = dict[str, list[tuple[dict[str, str], float]]]


class Sampler:
    """Scrapes `host:port/metrics` into `path` until stopped. A second without an answer leaves a line that says so."""

    def __init__(self, host: str, port: int, path: Path) -> None:
        self._host = host
        self._port = port
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._buckets: dict[float, float] = {}
        self.connections: int | None = None
        self.outbox_pending: int | None = None

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._file)

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            sample = self._sample(began)
            self.connections = sample["connections"]
            self.outbox_pending = sample["outbox_pending"]
            os.write(self._file, msgspec.json.encode(sample) + b"\n")
            self._stop.wait(max(0.0, began + INTERVAL_S - time.monotonic()))

    def _sample(self, now: float) -> dict[str, Any]:
        page = self._scrape()
        if page is None:
            self._buckets = {}
            empty = dict.fromkeys(
                ("connections", "ready", "database_p95_ms", "queue_depth", "requests", "outbox_pending")
            )
            return {"t": now, "memory": {}, **empty}
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
