"""What others leave in the status directory for the service to tell: how the backups are, and how the last drills went.

    <GYM_STATUS_DIR>/backups.prom   gauges in Prometheus' text format, left by `gymkhana schedule` or `backup status`
    <GYM_STATUS_DIR>/drills.json    {"crash": {"verdict": "pass", "at": 1790000000.0, "run": "…"}}, left by `drill run`

The service makes no backups and runs no drills, and must not have to. Of `backups.prom` it also tells when it was written,
0 when it is not there or is no such file: whoever should have written it may be dead, and then nothing else would change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import structlog
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

BACKUPS: Final = "backups.prom"
DRILLS: Final = "drills.json"
PREFIXES: Final = ("gymkhana_backup", "gymkhana_drill", "gymkhana_status")
"""How the names begin of all that is told from these files."""

log = structlog.get_logger()


class Drilled(msgspec.Struct, frozen=True):
    """How a drill went the last time, and when that was, in seconds since the epoch."""

    verdict: str
    at: float
    run: str = ""


class StatusFiles(Collector):
    """The files as metrics, as they are when asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._unread: dict[str, str] = {}

    def collect(self) -> Iterable[Metric]:
        written = GaugeMetricFamily(
            "gymkhana_status_timestamp_seconds", "When that status file was written; 0 when there is none.",
            labels=("file",),
        )  # fmt: skip
        backups_t, backups = self._read(BACKUPS, _backups)
        _, drills = self._read(DRILLS, _drills)
        written.add_metric((BACKUPS,), backups_t)
        return [written, *backups, *drills]

    def _read(self, name: str, parse: Callable[[bytes], Iterable[Metric]]) -> tuple[float, list[Metric]]:
        """When the file was written, and what it says."""
        path = self._directory / name
        try:
            with path.open("rb") as file:
                found = list(parse(file.read()))
                written_t = os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return 0.0, []
        except (OSError, ValueError) as error:
            if self._unread.get(name) != str(error):
                log.warning("status file not readable", file=str(path), error=str(error))
            self._unread[name] = str(error)
            return 0.0, []
        self._unread.pop(name, None)
        return written_t, found


def _backups(content: bytes) -> Iterator[Metric]:
    families = list(text_string_to_metric_families(content.decode("utf-8")))
    if not families:
        raise ValueError("it holds no figures")
    for family in families:
        if family.name.startswith("gymkhana_backup"):
            yield family


def _drills(content: bytes) -> Iterator[Metric]:
    passed = GaugeMetricFamily("gymkhana_drill_passed", "1 when that drill passed the last time.", labels=("drill",))
    told = GaugeMetricFamily("gymkhana_drill_timestamp_seconds", "When that drill was run last.", labels=("drill",))
    try:
        drills = msgspec.json.decode(content, type=dict[str, Drilled])
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    for name, drill in drills.items():
        passed.add_metric((name,), 1.0 if drill.verdict == "pass" else 0.0)
        told.add_metric((name,), drill.at)
    yield passed
    yield told
