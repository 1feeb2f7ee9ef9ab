"""A stand whose alerts are looked at ten times a second, by the service's own rules with their times made short."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ci.stand import Stand
from system.alerts import board
from system.alerts import rules as rules_of
from system.alerts.rules import Rule
from tests.e2e.caller import until

SECONDS = {
    "OutboxOld": 1.0,
    "BackupMissed": 6.0,
    "BackupUnverified": 6.0,
    "BackupUnrehearsed": 90.0,
    "BackupStatusOld": 4.0,
}
"""Bounds that are lengths of time, made short. Every other bound is the rule's own."""
WINDOW, HOLD = "2s", "300ms"


def quick(rules: Path) -> str:
    """The rules with short windows, holds and ages; what they ask and how they compare is as it was."""
    told: list[dict[str, Any]] = json.loads(rules.read_text("utf-8"))
    for rule in told:
        if "window" in rule["expression"]:
            rule["expression"]["window"] = WINDOW
        if "for" in rule:
            rule["for"] = HOLD
        if rule["name"] in SECONDS:
            rule["above"] = SECONDS[rule["name"]]
    return json.dumps(told)


@dataclass
class Alarmed:
    """The alerts of a stand, as its files tell them."""

    stand: Stand
    rules: tuple[Rule, ...]

    @classmethod
    def prepare(cls, stand: Stand, webhook: str = "", rules: str | None = None) -> Alarmed:
        """The stand, once it is started, has such alerts."""
        path = stand.directory / "rules.json"
        path.write_text(rules or quick(rules_of.OWN), "utf-8")
        stand.environment |= {
            "GYM_ALERT_RULES": str(path),
            "GYM_ALERT_INTERVAL_S": "0.1",
            "GYM_ALERT_RETRY_S": "0.05",
            "GYM_STATUS_DIR": str(stand.directory / "status"),
            "GYM_ALERT_WEBHOOKS": webhook,
        }
        return cls(stand, rules_of.read(path))

    @property
    def status(self) -> Path:
        return self.stand.directory / "status"

    def alert(self, name: str) -> dict[str, Any]:
        """What is told of that alert now."""
        told = board.read(self.stand.runtime, self.rules, time.time())
        found: dict[str, Any] = next(one for one in told["alerts"] if one["name"] == name)
        return found

    def firing(self, name: str) -> bool:
        return bool(self.alert(name)["state"] == "firing")

    def quiet(self, name: str) -> bool:
        return self.alert(name)["state"] in ("inactive", "resolved")

    def fires(self, *names: str) -> None:
        """Returns once each fires."""
        for name in names:
            until(partial(self.firing, name), f"{name} fires;", found=partial(self.alert, name))

    def is_over(self, *names: str) -> None:
        """Returns once none of them fires."""
        for name in names:
            until(partial(self.quiet, name), f"{name} is over;", found=partial(self.alert, name))

    def gauge(self, name: str) -> float:
        """What `/metrics` says of it."""
        page = self.stand.get("/metrics")[1].decode()
        (line,) = [one for one in page.splitlines() if one.startswith(f'gymkhana_alert_state{{alert="{name}"')]
        return float(line.split()[-1])


@contextlib.contextmanager
def traffic(*calls: Callable[[], object], each: int = 1, pause_s: float = 0.01) -> Iterator[None]:
    """Each of the calls is made again and again, by so many at once, while the block runs."""
    ended = threading.Event()

    def work(call: Callable[[], object]) -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError, HTTPException):
                call()
            ended.wait(pause_s)

    threads = [threading.Thread(target=work, args=(call,)) for call in calls for _ in range(each)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
