"""The canary against a service that answers as each test wants: what it calls right, wrong, and neither."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ci.loopback import HOST
from ci.probe import Canary
from tests.backups.databases import wait_until


class Service(ThreadingHTTPServer):
    """Keeps one profile. `unanswered` swallows the next write and applies it late; `lies` shows another value."""

    bio = ""
    unanswered = False
    late: str | None = None
    lies = False


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_PATCH(self) -> None:
        bio = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["bio"]
        if self.server.unanswered:
            self.server.unanswered = False
            self.server.late = bio
            self.close_connection = True
            return
        self.server.bio = bio
        if self.server.late is not None:
            self.server.bio, self.server.late = self.server.late, None
        self._answer({"bio": bio})

    def do_GET(self) -> None:
        self._answer({"bio": "something else" if self.server.lies else self.server.bio})

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def service() -> Iterator[Service]:
    with Service((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def reads(path: Path) -> list[Any]:
    """What each read-back was, in order."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [line["verified"] for line in lines if line["k"] == "done" and line["flow"] == "canary-read"]


def sung(service: Service, tmp_path: Path, change: str) -> list[Any]:
    path = tmp_path / "canary.jsonl"
    with Canary(HOST, service.server_address[1], "token", "run", path) as canary:
        wait_until(lambda: canary.verified_in_row >= 2, "the canary sings")
        setattr(service, change, True)
        wait_until(lambda: canary.verified_in_row == 0, "the canary misses a note")
        service.lies = False
        wait_until(lambda: canary.verified_in_row >= 2, "the canary sings again")
        time.sleep(0.05)
    return reads(path)


def test_another_value_is_a_lie(service: Service, tmp_path: Path) -> None:
    assert False in sung(service, tmp_path, "lies")


def test_the_value_of_a_write_that_was_never_answered_is_neither_right_nor_a_lie(
    service: Service, tmp_path: Path
) -> None:
    found = sung(service, tmp_path, "unanswered")
    assert None in found
    assert False not in found
