"""A real Prometheus that watches a stand from outside, by the exported rules."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ci.loopback import HOST, free_ports
from ci.stand import Stand
from system.alerts.export import prometheus
from system.alerts.rules import Rule
from tests.e2e.caller import until

PROGRAM = "prometheus"


@dataclass(frozen=True)
class Watcher:
    """The server, asked over HTTP."""

    port: int

    def ask(self, path: str) -> bytes:
        """What it answers; nothing when it does not."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        except OSError:
            return b""
        finally:
            connection.close()

    def firing(self) -> set[str]:
        """The alerts that fire as it sees it."""
        alerts = json.loads(self.ask("/api/v1/alerts"))["data"]["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}


@contextmanager
def watching(stand: Stand, rules: Sequence[Rule], place: Path) -> Iterator[Watcher]:
    """A Prometheus that reads the stand's figures five times a second, while the block runs."""
    (place / "rules.yml").write_text(prometheus(rules), "utf-8")
    told = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
        "rule_files": [str(place / "rules.yml")],
        "scrape_configs": [{"job_name": "gymkhana", "static_configs": [{"targets": [f"{HOST}:{stand.port}"]}]}],
    }
    (place / "prometheus.yml").write_text(json.dumps(told), "utf-8")
    watcher = Watcher(free_ports(1)[0])
    command = [PROGRAM, f"--config.file={place / 'prometheus.yml'}", f"--storage.tsdb.path={place / 'data'}",
               f"--web.listen-address={HOST}:{watcher.port}"]  # fmt: skip
    with (place / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: watcher.ask("/-/ready").startswith(b"Prometheus"), "Prometheus is ready")
        yield watcher
    finally:
        process.terminate()
        process.wait(30)
