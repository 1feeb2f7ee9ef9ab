"""The witness: what the machine itself adds to a request at this moment, told by one whose latency is known.

Load tool, server and everything else share the cores. What a request waits for its turn at either end is nobody's skew, and
without a witness it would be taken for one.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import time

from loadtests.percentiles import percentile
from loadtests.reference import HOST, STILL, STILL_MS

INTERVAL_S = 0.05
TIMEOUT_S = 5.0


class Witness:
    """Asks the reference server on `port` for its still route 20 times a second, for as long as the block runs."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._excess_ms: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness", daemon=True)

    def excess_ms(self, percent: float) -> float:
        """What the machine added to this many of 100 of its requests at most; 0 when none was answered."""
        return percentile(sorted(self._excess_ms), percent) if self._excess_ms else 0.0

    def _watch(self) -> None:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=TIMEOUT_S)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            while not self._stop.wait(INTERVAL_S):
                began = time.monotonic()
                connection.request("GET", STILL)
                connection.getresponse().read()
                self._excess_ms.append((time.monotonic() - began) * 1000 - STILL_MS)

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
