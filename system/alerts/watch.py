"""The alerts of a running service: looked at on a clock, kept in a file, told to their receivers.

    page ── ring ── rules ── states ──┬── gymkhana_alert_state
                              ▲       ├── <runtime>/alerts/alerts.json
               decisions.json ┘       └── notices ── delivery ── mail, webhooks

Only the first HTTP process does this: it has the service's own jobs already, sees the figures of the others as whoever asks
for `/metrics` does, and is started again by the supervisor when it dies, which a thread or a process beside would need anew.
It goes on while the database is gone: nothing here reads it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import structlog

from system.alerts import board, decisions
from system.alerts import rules as rules_of
from system.alerts.decisions import DecisionRefused, Decisions
from system.alerts.delivery import Delivery
from system.alerts.expressions import window_s
from system.alerts.kept import Kept
from system.alerts.notices import Notice, Shown, Told, after, due
from system.alerts.receivers import Receiver, receivers
from system.alerts.ring import Ring
from system.alerts.rules import Rule
from system.alerts.states import CODES, Course, step
from system.metrics import ALERT_STATE, Page
from system.settings import Settings

log = structlog.get_logger()


def configured_rules(config: Settings) -> tuple[Rule, ...]:
    """The rules that this configuration names. Raises RulesRefused."""
    return rules_of.read(config.alert_rules or rules_of.OWN)


def configured_receivers(config: Settings) -> tuple[Receiver, ...]:
    """The receivers that this configuration names. Raises ReceiverRefused."""
    url = config.alert_url or f"http://{config.host}:{config.port}"
    return receivers(config.alert_webhooks, config.alert_mail, url)


class Watch:
    """The alerts of one service. `run` looks after them until cancelled. Raises RulesRefused and ReceiverRefused."""

    def __init__(self, config: Settings, page: Page) -> None:
        self._config = config
        self._page = page
        self._place = board.place(config.runtime_directory())
        self._file = Kept(self._place / "alerts.json")
        self._rules = configured_rules(config)
        self._receivers = configured_receivers(config)
        self._wanted = rules_of.metrics_of(self._rules)
        self._ring = Ring(rules_of.horizon_s(self._rules))
        self._began: float | None = None
        self._looked: float | None = None
        self._courses: dict[str, Course] = {}
        self._values: dict[str, float | None] = {}
        self._said = Decisions()
        self._told: defaultdict[str, dict[str, Told]] = defaultdict(dict)
        self._restored: set[str] = set()
        self._writable = True

    async def run(self) -> None:
        """Looks at the rules and tells whom it concerns, until cancelled."""
        self._take_up()
        delivery = Delivery(self._receivers, self._was_told, self._config.alert_retry_s)
        async with asyncio.TaskGroup() as group:
            group.create_task(delivery.run())
            while True:
                now = time.time()
                alerts = await asyncio.to_thread(self.look, now)
                self._tell(delivery, alerts, now)
                await asyncio.to_thread(self._keep)
                await asyncio.sleep(self._config.alert_interval_s)

    def look(self, now: float) -> tuple[Shown, ...]:
        """Where every alert is now, read off the figures as they are now."""
        if self._began is None:
            self._began = now
        readings = (one for family in self._page.collect() for one in family.samples if one.name in self._wanted)
        self._ring.add(now, [(one.name, one.labels, one.value) for one in readings])
        for rule in self._rules:
            self._judge(rule, now)
        self._looked = now
        alerts = self._shown(now)
        for one in alerts:
            ALERT_STATE.labels(one.name, one.rule.severity).set(CODES[one.state])
        return alerts

    @property
    def runtime(self) -> Path:
        """Where the files are that people's words go into."""
        return self._config.runtime_directory()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are looked at."""
        return self._rules

    def late(self, now: float) -> str:
        """Why what `document` says may not be how it is now; empty when it is."""
        return "" if self._looked is not None else board.late(self.runtime, now)

    def document(self) -> dict[str, Any]:
        """The alerts for a board: from memory, also while no file can be written; from the files where others look.

        Raises DecisionRefused when what people said cannot be read and never could be.
        """
        now = time.time()
        if self._looked is None:
            return board.read(self.runtime, self._rules, now)
        return board.document(self._shown(now), self._said, self._values, self._looked, now)

    def _judge(self, rule: Rule, now: float) -> None:
        value = self._values[rule.name] = rule.expression.value(self._ring, now)
        before = self._courses.get(rule.name) or Course(rule.name)
        filling = now - (self._began or now) < window_s(rule.expression)
        if filling and rule.name in self._restored and not rule.holds(value):
            return  # The window is not full yet after a restart, and what is not known yet is not over.
        self._restored.discard(rule.name)
        course = self._courses[rule.name] = step(rule, before, value, now)
        if course.phase != before.phase:
            log.warning("alert fires" if course.phase == "firing" else f"alert {course.phase}", alert=rule.name,
                        severity=rule.severity, value=value, summary=rule.summary)  # fmt: skip

    def _shown(self, now: float) -> tuple[Shown, ...]:
        try:
            self._said = decisions.read(self._place)
        except DecisionRefused as error:  # What was said before still counts.
            log.warning("decisions not readable", error=str(error))
        return board.shown(self._rules, self._courses, self._said, now)

    def _tell(self, delivery: Delivery, alerts: tuple[Shown, ...], now: float) -> None:
        for receiver in self._receivers:
            for severity in rules_of.SEVERITIES:
                ours = [one for one in alerts if one.rule.severity == severity]
                told = self._told[receiver.name].get(severity) or Told()
                told, notice = due(told, ours, now, self._config.alert_repeat_s)
                self._told[receiver.name][severity] = told
                delivery.offer(receiver.name, severity, notice)

    def _was_told(self, receiver: str, notice: Notice) -> None:
        told = self._told[receiver].get(notice.severity) or Told()
        self._told[receiver][notice.severity] = after(told, notice, time.time())

    def _take_up(self) -> None:
        """What fired before a restart fires on, and who was told is not told again."""
        kept = board.record(self._place)
        if kept is None:
            return
        names = {rule.name for rule in self._rules}
        lasting = {name: one for name, one in kept.courses.items() if one.phase in ("firing", "resolved")}
        self._courses = {name: one for name, one in lasting.items() if name in names}
        self._restored = {name for name, one in self._courses.items() if one.phase == "firing"}
        for receiver, told in kept.told.items():
            self._told[receiver] = dict(told)

    def _keep(self) -> None:
        assert self._looked is not None
        told = {receiver: dict(groups) for receiver, groups in self._told.items()}
        kept = board.Record(self._looked, self._config.alert_interval_s, self._courses, self._values, told)
        try:
            self._file.write(msgspec.json.encode(kept))
        except OSError as error:
            if self._writable:
                log.warning("alerts are kept in memory only", error=str(error))
            self._writable = False
        else:
            self._writable = True
