"""The open model in Locust's process: a greenlet per arrival, begun when it is due, whatever became of those before it.

Locust itself has only users, who wait for their answers. Here a slow service is sent as much as a fast one, and how late
each request began is in its ledger line.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gevent
from gevent.pool import Pool
from geventhttpclient import HTTPClient

from loadtests.errors import LoadError, ToolError
from loadtests.locust_exchange import Load, exchange
from loadtests.schedule import Arrival
from loadtests.virtual_user import VirtualUser


def play(load: Load, arrivals: Sequence[Arrival]) -> int:
    """Every arrival was begun, or the load was stopped, and those in flight have ended; how many were dropped.

    One is dropped when as many requests as the plan has users are in flight: the generator was too small for the service.
    """
    flying = Pool()
    idle: list[Any] = []
    dropped = 0
    origin = time.monotonic()
    for number, arrival in enumerate(arrivals, 1):
        due = origin + arrival.at_ms / 1000
        if load.stopped.wait(max(due - time.monotonic(), 0.0)):
            break
        if len(flying) >= load.plan.users:
            dropped += 1
            # Those in flight must get their turn, or a generator that is late would never catch up.
            gevent.sleep(0)
            continue
        flying.spawn(_visit, load, number, arrival, due, idle)
    flying.join(load.script.scenario.timeout_s + 1)
    return dropped


def _visit(load: Load, number: int, arrival: Arrival, due: float, idle: list[Any]) -> None:
    """One arrival: a user of its own with one step, over a connection that others have used and will use."""
    connection = idle.pop() if idle else _connection(load)
    try:
        user = VirtualUser(number, load.script, [(arrival.flow, 0)])
        user.think()
        exchange(load, user, connection, due)
    except LoadError as error:
        load.stop(error)
    except Exception as error:  # noqa: BLE001  the outermost line of a greenlet; gevent would print it and carry on
        load.stop(ToolError(f"An arrival broke ({error!r}); see the log."))
    finally:
        idle.append(connection)


def _connection(load: Load) -> Any:
    timeout_s = load.script.scenario.timeout_s
    return HTTPClient.from_url(load.plan.url, concurrency=1, connection_timeout=timeout_s, network_timeout=timeout_s)
