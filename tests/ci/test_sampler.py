"""The sampler's arithmetic on a Prometheus page, and on the cores of processes."""

from __future__ import annotations

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ci.sampler import COUNTED_WITHIN_S, Cores, Sampler, histogram_quantile, parse

PAGE = """# HELP gymkhana_memory_bytes Resident memory.
# TYPE gymkhana_memory_bytes gauge
gymkhana_memory_bytes{process="http"} 1.5e+08
gymkhana_memory_bytes{process="writer"} 70000000.0
gymkhana_open_connections 1000.0
"""


def test_a_page_is_read_with_its_labels() -> None:
    page = parse(PAGE)
    assert page["gymkhana_memory_bytes"] == [({"process": "http"}, 1.5e8), ({"process": "writer"}, 7e7)]
    assert page["gymkhana_open_connections"] == [({}, 1000.0)]


def test_a_quantile_is_interpolated_inside_its_bucket() -> None:
    assert histogram_quantile({1.0: 50, 2.0: 100, float("inf"): 100}, 0.75) == pytest.approx(1.5)


def test_a_quantile_beyond_the_last_edge_is_that_edge() -> None:
    assert histogram_quantile({1.0: 10, float("inf"): 100}, 0.95) == 1.0


@pytest.mark.parametrize("buckets", [{}, {1.0: 0, float("inf"): 0}])
def test_nothing_counted_has_no_quantile(buckets: dict[float, float]) -> None:
    assert histogram_quantile(buckets, 0.95) is None


def test_the_cores_of_a_process_are_those_since_the_last_look() -> None:
    """The first look has nothing to compare with; of a process that is busy the second has something to tell."""
    cores = Cores(lambda: {"this": os.getpid()})
    assert cores.used(10.0) == {}
    began = time.process_time()
    while time.process_time() - began < 0.1:
        pass
    assert 0.05 < cores.used(11.0)["this"] < 1.0


def test_a_process_that_has_ended_is_left_out() -> None:
    pids = {"this": os.getpid(), "gone": 2**22 + 1}
    cores = Cores(lambda: pids)
    cores.used(10.0)
    assert set(cores.used(11.0)) == {"this"}


@pytest.mark.parametrize("pending", [0, 3])
def test_delivered_is_what_a_page_asked_for_since_then_says(tmp_path: Path, pending: int) -> None:
    """A page from before the last write may say that nothing is left, and be right."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"gymkhana_outbox_pending {pending}\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        begun = time.monotonic()
        with Sampler("127.0.0.1", server.server_port, tmp_path / "samples.jsonl") as sampler:
            asked = begun - COUNTED_WITHIN_S - 1
            deadline = begun + 30
            while not (tmp_path / "samples.jsonl").read_bytes() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert sampler.delivered(asked) == (pending == 0)
            assert not sampler.delivered(time.monotonic())
        server.shutdown()
