"""The HTTP process (`python -m system.server`): the application behind granian or uvicorn.

On SIGTERM it refuses what comes later (503, `Outcome: not-applied`), answers everything it had accepted, and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from typing import Protocol

import structlog

from system import processes
from system.alerts.receivers import ReceiverRefused
from system.alerts.rules import RulesRefused
from system.alerts.watch import configured_receivers, configured_rules
from system.app import make_app
from system.edge import Edge
from system.logs import configure_logs
from system.schema import SchemaTrouble, check_schema
from system.scrub import keep_secret
from system.settings import Settings, settings

DRAIN_TIMEOUT_S = 10.0
BACKLOG = 4096
CONNECTIONS = 16_384
"""Granian takes this many connections at once, idle ones included: far more than users, so that none waits unseen."""

log = structlog.get_logger()


class Server(Protocol):
    """An HTTP server that runs until told to stop."""

    async def run(self) -> None:
        """Serves until `stop`; in-flight responses are sent before it returns."""

    def stop(self) -> None:
        """Asks `run` to return."""


class Granian:
    """Granian inside this process' event loop."""

    def __init__(self, edge: Edge, config: Settings) -> None:
        from granian.constants import HTTPModes, Interfaces
        from granian.http import HTTP1Settings
        from granian.server.embed import Server as Embedded

        self._server = Embedded(
            edge,
            address=config.host,
            port=config.port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=60_000),
            websockets=False,
            backlog=BACKLOG,
            backpressure=CONNECTIONS,
            log_enabled=False,
        )

    async def run(self) -> None:
        """Serves until `stop`."""
        await self._server.serve()

    def stop(self) -> None:
        """Asks `run` to return."""
        self._server.stop()


class Uvicorn:
    """Uvicorn, for those who want to debug with the server everybody knows."""

    def __init__(self, edge: Edge, config: Settings) -> None:
        import uvicorn

        self._server = uvicorn.Server(
            uvicorn.Config(
                edge,
                host=config.host,
                port=config.port,
                backlog=BACKLOG,
                timeout_keep_alive=75,  # longer than any think time, so that a reused connection is never a closed one
                access_log=False,
                proxy_headers=False,  # whose word is taken is a setting of ours, and nobody's unless it is made
                log_level="warning",
                http="httptools",
            )
        )
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # they are ours

    async def run(self) -> None:
        """Serves until `stop`."""
        await self._server.serve()

    def stop(self) -> None:
        """Asks `run` to return."""
        self._server.should_exit = True


async def serve(config: Settings) -> None:
    """Serves until SIGTERM, then drains and returns."""
    _, edge = make_app(config)
    server: Server = Granian(edge, config) if config.server == "granian" else Uvicorn(edge, config)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    running = asyncio.create_task(server.run())
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    if waiting.done():
        drained = await edge.drain(DRAIN_TIMEOUT_S)
        log.info("drained", everything_answered=drained)
    server.stop()
    waiting.cancel()
    await running


def port_is_free(host: str, port: int) -> bool:
    """True when a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def main() -> int:
    """Runs the HTTP process as a child of the supervisor; 0 after a stop, 2 when it cannot begin."""
    processes.end_with_parent()
    config = settings()
    configure_logs(config.log_level, process="http")
    keep_secret(config.secrets())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        check_schema(config.database_url)
        configured_rules(config)
        configured_receivers(config)
    except (SchemaTrouble, RulesRefused, ReceiverRefused) as error:
        processes.say(str(error))
        return 2
    import uvloop

    processes.settle_memory()
    uvloop.run(serve(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
