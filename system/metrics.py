"""What the service says about itself at `/metrics`, in the Prometheus text format.

Counters and histograms are fed where things happen; memory and open connections are read from the kernel when asked. Of
several HTTP processes each leaves its page where the others find it, once a second; whichever is asked tells the sum.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from operator import itemgetter
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from system.status_files import StatusFiles

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
    "gymkhana_database_seconds", "Time in the database: a read, or a write until its commit or refusal.", ("lane", "domain"),
    buckets=_DATABASE_BUCKETS, registry=REGISTRY,
)  # fmt: skip
SHIP_SECONDS = Histogram(
    "gymkhana_ship_seconds", "From a write's commit until its log is durable elsewhere, when that is waited for.",
    buckets=_DATABASE_BUCKETS, registry=REGISTRY,
)  # fmt: skip
OPEN_CONNECTIONS = Gauge(
    "gymkhana_open_connections", "Established connections to the service's port.", registry=REGISTRY,
)  # fmt: skip
MEMORY = Gauge(
    "gymkhana_memory_bytes", "Resident memory of each process.", ("process",), registry=REGISTRY,
)  # fmt: skip
LANE_DEPTH = Gauge(
    "gymkhana_lane_depth", "Jobs waiting or under way.", ("lane", "domain"), registry=REGISTRY,
)  # fmt: skip
QUEUE_SECONDS = Histogram(
    "gymkhana_queue_seconds", "Time spent waiting: before the door, or in the lane for a turn.", ("lane", "place"),
    buckets=_REQUEST_BUCKETS, registry=REGISTRY,
)  # fmt: skip
ADMISSION_LIMIT = Gauge(
    "gymkhana_admission_limit", "Requests that may be inside the lane at once.", ("lane",), registry=REGISTRY,
)  # fmt: skip
DEGRADED = Gauge(
    "gymkhana_degraded", "1 while the service is in that degraded mode.", ("mode",), registry=REGISTRY,
)  # fmt: skip
LANE_SHED = Counter("gymkhana_lane_shed", "Jobs refused unapplied.", ("lane", "domain", "reason"), registry=REGISTRY)
WRITE_RETRIES = Counter(
    "gymkhana_write_retries", "Jobs run again, as the server rolled them back or was lost.", ("reason",),
    registry=REGISTRY,
)  # fmt: skip
RECORDS_DROPPED = Counter(
    "gymkhana_records_dropped", "Records of the service's own that could not be kept.", ("record", "reason"),
    registry=REGISTRY,
)  # fmt: skip
ADMIN_LOG_INS = Counter("gymkhana_admin_log_ins", "Log-ins to the admin part.", ("outcome",), registry=REGISTRY)
READY = Gauge("gymkhana_ready", "1 while the service takes work.", registry=REGISTRY)
OUTBOX_PENDING = Gauge(
    "gymkhana_outbox_pending", "Notifications written and not yet delivered.", registry=REGISTRY,
)  # fmt: skip
OUTBOX_AGE = Gauge(
    "gymkhana_outbox_age_seconds", "How long the next of them has been waiting.", registry=REGISTRY,
)  # fmt: skip
FENCED = Gauge(
    "gymkhana_fenced", "1 once the database must not be touched any more, until the process ends.", ("cause",),
    registry=REGISTRY,
)  # fmt: skip
DEADLOCKS = Counter(
    "gymkhana_deadlocks", "Deadlocks that the database server has met since this process began.", registry=REGISTRY,
)  # fmt: skip
DISK_FREE_BYTES = Gauge(
    "gymkhana_disk_free_bytes", "Room on the file system of the database file.", ("of",), registry=REGISTRY,
)  # fmt: skip
DISK_FREE = Gauge(
    "gymkhana_disk_free_ratio", "The share of that file system that is free.", ("of",), registry=REGISTRY,
)  # fmt: skip
ALERT_STATE = Gauge(
    "gymkhana_alert_state", "0 inactive or resolved, 1 pending, 2 firing, 3 acknowledged, 4 silenced.",
    ("alert", "severity"), registry=REGISTRY,
)  # fmt: skip
ALERT_SENDS = Counter(
    "gymkhana_alert_sends", "Attempts to tell a receiver of alerts.", ("receiver", "outcome"), registry=REGISTRY,
)  # fmt: skip

PAGES = "metrics"
"""Where below the runtime directory the pages are left."""
PAGE_INTERVAL_S = 1.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ESTABLISHED = "01"


class Page(Collector):
    """Everything one service tells of itself, as it is when asked for. `database` is its file, when it has one."""

    def __init__(
        self, port: int, runtime: Path, database: Path | None = None, status: StatusFiles | None = None
    ) -> None:
        self._port = port
        self._runtime = runtime
        self._database = database
        self._status = status

    def render(self) -> bytes:
        """The page as Prometheus reads it, connections counted."""
        http = [int(process["pid"]) for name, process in _processes(self._runtime).items() if _is_http(name)]
        OPEN_CONNECTIONS.set(open_connections(self._port, http))
        return generate_latest(self)

    def collect(self) -> Iterable[Metric]:
        """Every figure but the connections, which are as they were last counted."""
        known = _processes(self._runtime)
        for process, size in memory(known).items():
            MEMORY.labels(process).set(size)
        if self._database is not None:
            _look_at_disk(self._database)
        siblings = _pages(self._runtime, [int(one["pid"]) for name, one in known.items() if _is_http(name)])
        yield from _Summed(siblings).collect() if siblings else REGISTRY.collect()
        if self._status is not None:
            yield from self._status.collect()


def _is_http(name: str) -> bool:
    return name.startswith("http")


def _look_at_disk(database: Path) -> None:
    with contextlib.suppress(OSError):  # It is as it was when it could be asked last.
        there = os.statvfs(database.parent)
        if there.f_blocks:
            DISK_FREE_BYTES.labels("database").set(there.f_bavail * there.f_frsize)
            DISK_FREE.labels("database").set(there.f_bavail / there.f_blocks)


def leave_page(runtime: Path) -> None:
    """This process's page is where the others find it."""
    directory = runtime / PAGES
    directory.mkdir(exist_ok=True)
    partial = directory / f".{os.getpid()}"
    partial.write_bytes(generate_latest(REGISTRY))
    partial.replace(directory / str(os.getpid()))


def _pages(runtime: Path, http: Sequence[int]) -> list[str]:
    """What the other living HTTP processes left."""
    found = []
    for pid in http:
        if pid != os.getpid():
            with contextlib.suppress(FileNotFoundError):
                found.append((runtime / PAGES / str(pid)).read_text("utf-8"))
    return found


class _Summed(Collector):
    """Our own figures and those of the others' pages: sums, but for those that whoever is asked knows best."""

    def __init__(self, pages: Sequence[str]) -> None:
        self._pages = pages

    def collect(self) -> Iterable[Metric]:
        others: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}
        families: dict[str, Metric] = {}
        for page in self._pages:
            for family in text_string_to_metric_families(page):
                families[family.name] = family
                for one in family.samples:
                    others.setdefault((one.name, tuple(sorted(one.labels.items()))), []).append(one.value)
        for family in REGISTRY.collect():
            families.pop(family.name, None)
            whole = Metric(family.name, family.documentation, family.type)
            for one in family.samples:
                more = others.pop((one.name, tuple(sorted(one.labels.items()))), [])
                whole.add_sample(one.name, one.labels, _TOGETHER.get(one.name, sum)([one.value, *more]))
            for (name, labels), values in list(others.items()):  # What only others have seen.
                if name.startswith(family.name):
                    whole.add_sample(name, dict(labels), sum(values))
                    del others[(name, labels)]
            yield whole


_TOGETHER: Mapping[str, Callable[[list[float]], float]] = {
    "gymkhana_ready": min,
    "gymkhana_outbox_pending": max,
    "gymkhana_outbox_age_seconds": max,
    "gymkhana_degraded": max,
    "gymkhana_fenced": max,
    "gymkhana_alert_state": max,
    "gymkhana_disk_free_bytes": itemgetter(0),
    "gymkhana_disk_free_ratio": itemgetter(0),
    "gymkhana_open_connections": itemgetter(0),
    "gymkhana_memory_bytes": itemgetter(0),
}
"""How figures of several processes become one, where that is not their sum; the first is of whoever is asked."""


def open_connections(port: int, pids: Sequence[int]) -> int:
    """How many established connections these processes hold on `port`: the kernel's count, not ours."""
    ours = set()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):  # It ended.
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):  # It was closed since it was listed.
                    ours.add(os.readlink(descriptor.path))  # noqa: PTH115  # a thousand of them, once a second
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


def _processes(runtime: Path) -> dict[str, dict[str, float]]:
    try:
        return msgspec.json.decode((runtime / "processes.json").read_bytes(), type=dict[str, dict[str, float]])
    except FileNotFoundError:
        return {"http": {"pid": os.getpid()}}


def memory(known: Mapping[str, Mapping[str, float]]) -> dict[str, int]:
    """Resident bytes of each of the service's processes, by name."""
    sizes = {}
    for name, process in known.items():
        try:
            resident = Path(f"/proc/{process['pid']:.0f}/statm").read_text("ascii").split()[1]
        except OSError:
            continue
        sizes[name] = int(resident) * _PAGE_BYTES
    return sizes


@cache
def requests(method: str, route: str, status: int) -> Counter:
    """The counter of these requests. Kept, as finding it costs more than counting does."""
    return REQUESTS.labels(method, route, str(status))


@cache
def request_seconds(route: str) -> Histogram:
    """The histogram of that route's requests."""
    return REQUEST_SECONDS.labels(route)


@cache
def database_seconds(lane: str, domain: str) -> Histogram:
    """The histogram of that domain's time in the database."""
    return DATABASE_SECONDS.labels(lane, domain)


@cache
def lane_depth(lane: str, domain: str) -> Gauge:
    """The gauge of that domain's jobs in that lane."""
    return LANE_DEPTH.labels(lane, domain)


@cache
def queue_seconds(lane: str) -> Histogram:
    """The histogram of what jobs waited in that lane for their turn."""
    return QUEUE_SECONDS.labels(lane, "lane")
