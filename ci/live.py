"""What a person sees while a drill runs: each event as it happens, and a sign of life in between.

On a terminal the sign of life is a status line with an estimate of the time left; elsewhere a line every ten seconds.
"""

from __future__ import annotations

import threading
import time
from typing import TextIO

from ci.journal import Event

HEARTBEAT_S = 10.0
REDRAW_S = 0.25


class Live:
    """Follows one drill on `stream`. `expected_s` is how long it should take; the estimate never goes below zero."""

    def __init__(self, stream: TextIO, title: str, expected_s: float) -> None:
        self._stream = stream
        self._title = title
        self._expected_s = expected_s
        self._terminal = stream.isatty()
        self._began = time.monotonic()
        self._spoke = self._began
        self._step = "starting"
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._beat, name="live", daemon=True)

    def __enter__(self) -> Live:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with self._lock:
            self._clear()

    def show(self, event: Event) -> None:
        """Prints the event."""
        with self._lock:
            self._clear()
            self._step = event.event
            self._spoke = time.monotonic()
            self._say(f"{event.t - self._began:6.1f} s  {event.event:<15} {event.text}\n")

    def _beat(self) -> None:
        while not self._stop.wait(REDRAW_S):
            now = time.monotonic()
            left = max(0.0, self._expected_s - (now - self._began))
            with self._lock:
                if self._terminal:
                    self._clear()
                    self._say(f"  {self._title}: {self._step}, {now - self._began:.0f} s, about {left:.0f} s left")
                elif now - self._spoke >= HEARTBEAT_S:
                    self._spoke = now
                    self._say(f"{now - self._began:6.1f} s  {'…':<15} still at {self._step}, about {left:.0f} s left\n")

    def _clear(self) -> None:
        if self._terminal:
            self._say("\r\033[K")

    def _say(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
