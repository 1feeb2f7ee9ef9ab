"""Whoever watches a board: the stream as an ASGI server takes it, as fast or as slowly as a test likes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

from tests.system.admin.visitors import Browser
from tests.system.front import Front


class Watcher:
    """One open stream. It reads freely until `stall`."""

    def __init__(self, front: Front, browser: Browser, path: str) -> None:
        self._front = front
        self.status = 0
        self.ended = False
        self.text = ""
        asked = browser.request("GET", path)["headers"] | {"Accept": "text/event-stream"}
        place, _, query = path.partition("?")
        self._scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": place, "raw_path": place.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in asked.items()],
            "client": ("127.0.0.1", 1), "server": ("gym", 80),
        }  # fmt: skip
        front.run(self._open())

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Every message so far, by its name."""
        found = []
        for block in self.text.split("\n\n"):
            fields = dict(
                line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":")
            )
            if "data" in fields:
                found.append((fields.get("event", "message"), json.loads(fields["data"])))
        return found

    def told(self) -> list[dict[str, Any]]:
        """Every state of the board that was told."""
        return [told for name, told in self.events() if name == "message"]

    def stall(self) -> None:
        """Nothing more is taken, and the connection stays."""
        self._front.run(self._switch(flowing=False))

    def close(self) -> None:
        """The browser is closed."""
        self._front.run(self._close())
        self._front.until(lambda: self.ended)

    async def _open(self) -> None:
        self._gone = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._task = asyncio.create_task(self._run())

    async def _switch(self, *, flowing: bool) -> None:
        self._flowing.set() if flowing else self._flowing.clear()

    async def _close(self) -> None:
        self._gone.set()
        self._flowing.set()

    async def _run(self) -> None:
        try:
            await self._front.edge(self._scope, self._receive, self._send)
        finally:
            self.ended = True

    async def _receive(self) -> MutableMapping[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        await self._flowing.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.text += message.get("body", b"").decode()
