"""A service with one planted bug: it acknowledges challenges and tournaments before the writer has seen them.

Run like the supervisor. The bug lives in the HTTP process alone; users (and so the canary) are served as they should be.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from system import lanes, server, supervisor
from system.wire import Answer, Ask

LATE_S = 0.4
EARLY = ("challenge.", "match.", "tournament.")
_late: set[asyncio.Task[Any]] = set()


async def ask_early(link: lanes.WriterLink, ask: Ask) -> Answer:
    """The bug: the answer leaves now, the job is sent a little later, and what becomes of it interests nobody."""
    if not ask.job.startswith(EARLY):
        return await _ask(link, ask)
    task = asyncio.create_task(_send_later(link, ask))
    _late.add(task)
    task.add_done_callback(_late.discard)
    return Answer(0, status=201, body=b"{}")


async def _send_later(link: lanes.WriterLink, ask: Ask) -> None:
    await asyncio.sleep(LATE_S)
    await asyncio.gather(_ask(link, ask), return_exceptions=True)


_ask = lanes.WriterLink.ask

if __name__ == "__main__":
    if "--runtime" in sys.argv:
        sys.exit(supervisor.main({"writer": "system.writer", "http": "acknowledge_early"}))
    lanes.WriterLink.ask = ask_early  # type: ignore[method-assign,assignment]
    sys.exit(server.main())
