"""What the service says about itself at `/metrics`, in the Prometheus text format.

Counters and histograms are fed where things happen; memory and open connections are read from the kernel when asked.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the page and nobody reads them
REGISTRY = CollectorRegistry(auto_describe=True)

_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_DATABASE_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

REQUESTS = Counter("gymkhana_requests", "Requests answered.", ("method", "route", "status"), registry=REGISTRY)
REQUEST_SECONDS = Histogram(
    "gymkhana_request_seconds", "From the first byte read to the last byte given to the server.", ("route",),
    buckets=_REQUEST_BUCKETS, registry=REGISTRY,
)  # fmt: skip
DATABASE_SECONDS = Histogram(
    "gymkhana_database_seconds", "Time in the database: a read, or a write until its commit.", ("lane", "domain"),
    buckets=_DATABASE_BUCKETS, registry=REGISTRY,
)  # fmt: skip
SHIP_SECONDS = Histogram(
    "gymkhana_ship_seconds", "From a write's commit until its log is durable elsewhere, when that is waited for.",
    buckets=_DATABASE_BUCKETS, registry=REGISTRY,
)  # fmt: skip
OPEN_CONNECTIONS = Gauge(
    "gymkhana_open_connections", "Established connections to the service's port.", registry=REGISTRY
)
MEMORY = Gauge("gymkhana_memory_bytes", "Resident memory of each process.", ("process",), registry=REGISTRY)
LANE_DEPTH = Gauge("gymkhana_lane_depth", "Jobs waiting or under way.", ("lane", "domain"), registry=REGISTRY)
LANE_SHED = Counter("gymkhana_lane_shed", "Jobs refused unapplied.", ("lane", "domain", "reason"), registry=REGISTRY)
WRITE_RETRIES = Counter(
    "gymkhana_write_retries", "Jobs run again, as the server rolled them back or was lost.", ("reason",),
    registry=REGISTRY,
)  # fmt: skip
READY = Gauge("gymkhana_ready", "1 while the service takes work.", registry=REGISTRY)
OUTBOX_PENDING = Gauge("gymkhana_outbox_pending", "Notifications written and not yet delivered.", registry=REGISTRY)

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ESTABLISHED = "01"


def render(port: int, runtime: Path) -> bytes:
    """The whole page, memory and connections as they are now."""
    OPEN_CONNECTIONS.set(open_connections(port))
    for process, size in memory(runtime).items():
        MEMORY.labels(process).set(size)
    return generate_latest(REGISTRY)


def open_connections(port: int) -> int:
    """How many established connections this process holds on `port`: the kernel's count, not ours."""
    ours = set()
    for descriptor in os.scandir("/proc/self/fd"):
        try:
            ours.add(os.readlink(descriptor.path))  # noqa: PTH115  # a thousand of them, once a second
        except FileNotFoundError:  # closed since it was listed
            continue
    local = f":{port:04X}"
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            fields = line.split(None, 10)
            if fields[3] == _ESTABLISHED and fields[1].endswith(local) and f"socket:[{fields[9]}]" in ours:
                count += 1
    return count


def memory(runtime: Path) -> dict[str, int]:
    """Resident bytes of each of the service's processes, by name."""
    try:
        known = msgspec.json.decode((runtime / "processes.json").read_bytes(), type=dict[str, dict[str, float]])
    except FileNotFoundError:
        known = {"http": {"pid": os.getpid()}}
    sizes = {}
    for name, process in known.items():
        try:
            resident = Path(f"/proc/{process['pid']:.0f}/statm").read_text("ascii").split()[1]
        except OSError:
            continue
        sizes[name] = int(resident) * _PAGE_BYTES
    return sizes
