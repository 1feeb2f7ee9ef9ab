"""The canary: twenty times a second it writes something new and reads it back, from outside the service.

Its lines are in the ledger's format, in `canary.jsonl`: its writes are acknowledged writes like any user's, and its
read-backs are what recovery is measured by.
"""

from __future__ import annotations

import http.client
import itertools
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

INTERVAL_S = 0.05
TIMEOUT_S = 1.0
USER = 0
"""The canary's number among the users of the ledger."""

_encode = msgspec.json.Encoder().encode


class Canary:
    """Probes `host:port` as the user of `token` until stopped. Thread-safe to ask how it is doing."""

    def __init__(self, host: str, port: int, token: str, run: str, path: Path) -> None:
        self._host = host
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Run-Id": run}
        self._run = run
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._connection: http.client.HTTPConnection | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._probe, name="canary", daemon=True)
        self._invoked = self._done = 0
        self._failures_in_row = 0
        self._verified_in_row = 0
        self._last_error = ""
        self._doubtful: set[str] = set()
        """Values whose writes were never answered: each may be applied at any later moment, over a newer one."""

    def __enter__(self) -> Canary:
        self._line({"k": "clock", "run": self._run, "tool": "canary", "mono": time.monotonic(), "wall": time.time(),
                    "pid": os.getpid()})  # fmt: skip
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._close()
        self._line({"k": "end", "invoked": self._invoked, "done": self._done, "t": time.monotonic()})
        os.fsync(self._file)
        os.close(self._file)

    @property
    def failing(self) -> str:
        """Why the last two probes failed, empty when one of them did not: one failure alone is not news."""
        return self._last_error if self._failures_in_row >= 2 else ""

    @property
    def verified_in_row(self) -> int:
        """How many of the newest probes wrote and read back correctly without a failure between them."""
        return self._verified_in_row

    def _probe(self) -> None:
        due = time.monotonic()
        for number in itertools.count():
            if self._stop.is_set():
                break
            value = f"canary {self._run} {number}"
            well = self._write(f"{self._run}.canary.{number}", value) and self._read(
                f"{self._run}.canary.{number}", value
            )
            self._failures_in_row = 0 if well else self._failures_in_row + 1
            self._verified_in_row = self._verified_in_row + 1 if well else 0
            due = max(due + INTERVAL_S, time.monotonic())
            self._stop.wait(due - time.monotonic())

    def _write(self, operation: str, value: str) -> bool:
        began = time.monotonic()
        self._line({"k": "invoke", "op": operation, "flow": "canary", "user": USER, "t": began})
        self._invoked += 1
        line = {"k": "done", "op": operation, "flow": "canary", "user": USER, "t": began, "write": True}
        status, headers, _, error, sent = self._request(
            "PATCH", self._headers | {"Operation-Id": operation}, _encode({"bio": value})
        )
        outcome = _outcome(status, headers, sent)
        sequence = headers.get("commit-sequence", "")
        self._line(
            line
            | {"d": time.monotonic() - began, "status": status, "outcome": outcome, "err": error or None,
               "digest": headers.get("effect-digest"), "seq": int(sequence) if sequence.isdigit() else None,
               "db": None}
        )  # fmt: skip
        self._done += 1
        if outcome != "ok":
            self._last_error = error or f"a write answered {status}"
        if outcome == "unknown":
            self._doubtful.add(value)
        return outcome == "ok"

    def _read(self, operation: str, value: str) -> bool:
        began = time.monotonic()
        status, headers, body, error, sent = self._request("GET", self._headers, None)
        found = msgspec.json.decode(body)["bio"] if status == 200 else None
        # An older write that nobody answered may have come after this one: that is neither right nor a lie.
        verified = None if found in self._doubtful else found == value
        self._line(
            {"k": "done", "op": operation, "flow": "canary-read", "user": USER, "t": began, "d": time.monotonic() - began,
             "status": status, "outcome": _outcome(status, headers, sent), "write": False, "digest": None, "seq": None,
             "err": error or None, "db": None, "verified": verified}
        )  # fmt: skip
        self._done += 1
        if not verified:
            self._last_error = error or f"a read answered {status}" + (" with another value" if status == 200 else "")
        return bool(verified)

    def _request(
        self, method: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, dict[str, str], bytes, str, bool]:
        """Status (0 when there was no answer), headers, body, error, and whether a byte may have left."""
        sent = False
        try:
            connection = self._connection
            if connection is None:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
                connection.connect()
                connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connection = connection
            sent = True
            connection.request(method, "/users/me", body, headers)
            response = connection.getresponse()
            data = response.read()
            told = {name.lower(): text for name, text in response.getheaders()}
            if response.will_close:
                self._close()
            return response.status, told, data, "", sent
        except (OSError, http.client.HTTPException) as error:
            self._close()
            return 0, {}, b"", str(error) or type(error).__name__, sent

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _line(self, line: dict[str, Any]) -> None:
        os.write(self._file, _encode(line) + b"\n")


def _outcome(status: int, headers: dict[str, str], sent: bool) -> str:
    from loadtests.ledger import outcome

    return outcome(status, headers, sent)
