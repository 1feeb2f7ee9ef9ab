"""Several processes play one load: Locust's master here, its workers started by it, or elsewhere by people.

    gymkhana load ─ master (no users) ─┬─ worker 1: users 1, 3, 5, …   ledger-1.jsonl ─┐
                     127.0.0.1:PORT    └─ worker 2: users 2, 4, 6, …   ledger-2.jsonl ─┴─ ledgers.py ─ ledger.jsonl

Locust's own `--processes` forks, listens on all interfaces, and leaves its workers running when it is killed. These workers
are processes of their own on a leash, the master listens where it is told and nowhere else, and a worker that ends early
ends the load: its users would be missing from every figure.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent.event import Event

from loadtests import leash
from loadtests.errors import PlanError, ToolError
from loadtests.plan import WORKER, LoadPlan

HOST = "127.0.0.1"
ARRIVE_S = 30.0
"""How long the master waits for workers it started; for those people start, ten times as long."""

LEAVE_S = 15.0


def lead(plan: LoadPlan, environment: Callable[[], Any]) -> None:
    """The plan has been played by `plan.processes` workers when this returns, and those started here have ended.

    Raises ToolError when they do not all arrive, or one ends before the others.
    """
    address = plan.master or f"{HOST}:{_free_port()}"
    host, _, port = address.rpartition(":")
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stopped.set)
    run = environment()
    # Not when everybody has stopped: Locust tells its workers, and may forget them before they are told to quit.
    run.events.test_stopping.add_listener(lambda **_: stopped.set())
    try:
        runner = run.create_master_runner(host, int(port))
    except Exception as error:
        raise PlanError(f"The master cannot listen on {address} ({error}); name another address.") from error
    workers = [] if plan.master else [_worker(address, number) for number in range(1, plan.processes + 1)]
    try:
        trouble = _arrived(runner, plan.processes, workers, stopped, ARRIVE_S * (10 if plan.master else 1))
        if not trouble and not stopped.is_set():
            runner.start_shape()
            trouble = _played(runner, plan.processes, workers, stopped)
        else:
            for worker in workers:  # they may not have heard of their master yet, so they are told in another way
                worker.terminate()
        runner.quit()
        trouble = _left(workers) or trouble
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    if trouble:
        raise ToolError(trouble)


def _worker(address: str, number: int) -> subprocess.Popen[bytes]:
    told = os.environ | {WORKER: str(number), "GYM_LOAD_MASTER": address, leash.STARTER: str(os.getpid())}
    command = [sys.executable, "-m", "loadtests.leash", sys.executable, "-m", "loadtests.locustfile"]
    return subprocess.Popen(command, env=told, stdin=subprocess.DEVNULL)


def _arrived(
    runner: Any, wanted: int, workers: Sequence[subprocess.Popen[bytes]], stopped: Event, timeout_s: float
) -> str:
    """Waits for every worker; why not, or nothing."""
    deadline = time.monotonic() + timeout_s
    while len(runner.clients.ready) < wanted:
        if stopped.wait(0.05):
            return ""
        if trouble := _ended(workers):
            return trouble
        if time.monotonic() > deadline:
            return f"{len(runner.clients.ready)} of {wanted} workers came within {timeout_s:.0f} s; start the others."
    return ""


def _played(runner: Any, wanted: int, workers: Sequence[subprocess.Popen[bytes]], stopped: Event) -> str:
    """Waits for the end of the load; why it came too early, or nothing."""
    while not stopped.wait(0.2):
        if trouble := _ended(workers):
            return trouble
        there = len(runner.clients.all) - len(runner.clients.missing)
        if there < wanted:
            return f"{wanted - there} of {wanted} workers went away during the load; see their logs."
    return ""


def _ended(workers: Sequence[subprocess.Popen[bytes]]) -> str:
    for number, worker in enumerate(workers, 1):
        if (code := worker.poll()) is not None:
            return f"Worker {number} ended with {code} during the load; see the log."
    return ""


def _left(workers: Sequence[subprocess.Popen[bytes]]) -> str:
    """Waits until every worker has ended its ledger and itself; which did not, or nothing."""
    deadline = time.monotonic() + LEAVE_S
    while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
        gevent.sleep(0.05)
    for number, worker in enumerate(workers, 1):
        if (code := worker.poll()) is None:
            return f"Worker {number} did not end within {LEAVE_S:.0f} s, and was killed."
        if code:
            return f"Worker {number} ended with {code}; see the log."
    return ""


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port
