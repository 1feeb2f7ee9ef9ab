"""The service's processes, as it publishes them in `<runtime>/processes.json`: read anew each time, never taken on trust."""

from __future__ import annotations

from pathlib import Path

import msgspec

from chaos.errors import NotOurs
from chaos.identity import Identity

SUPERVISOR = "supervisor"
WRITER = "writer"

START_TOLERANCE_S = 1.5
"""The kernel tells its boot time in whole seconds, and slewing the clock moves it by one. Pids do not come back so fast."""


class _Published(msgspec.Struct, frozen=True):
    pid: int
    start: float


def living(runtime: Path) -> dict[str, Identity]:
    """The published processes that still run, by name, the supervisor first. Empty when nothing is published.

    Raises NotOurs when a published pid belongs to another process now: then nothing in the file can be trusted.
    """
    found = {}
    for name, published in _read(runtime / "processes.json").items():
        identity = Identity.of(published.pid)
        if identity is None or not identity.alive:
            continue
        if abs(identity.created_s - published.start) > START_TOLERANCE_S:
            raise NotOurs(
                f"Process {published.pid} is not the {name} that {runtime} speaks of: it started at another time. "
                "Start the service again, so that it publishes its processes anew."
            )
        found[name] = identity
    return dict(sorted(found.items(), key=lambda item: item[0] != SUPERVISOR))


def _read(path: Path) -> dict[str, _Published]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        return msgspec.json.decode(content, type=dict[str, _Published])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotOurs(f"{path} does not name a service's processes: {error}.") from error
