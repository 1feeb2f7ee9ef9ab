"""Structured logs: one event per thing that happened, JSON off a terminal and plain on one, to standard error."""

from __future__ import annotations

import logging
import sys

import msgspec
import structlog

from system.scrub import scrubbed


def configure_logs(level: str, *, process: str) -> None:
    """Every logger of this process writes through structlog from now on; `process` is bound to each line."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(serializer=_json)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def _without_secrets(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The last look before a line is written: a driver quotes rows in its errors, and an address may hold a password."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = scrubbed(value)
    return event


def _json(event: object, **_options: object) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()
