"""A made-up alert for every receiver, so that whoever set them up knows that they will hear of a real one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from system.alerts.expressions import Gauge
from system.alerts.notices import Notice, Shown
from system.alerts.receivers import Answer, Receiver
from system.alerts.rules import Rule
from system.alerts.states import Course

RULE = Rule(
    name="Trial",
    severity="warning",
    expression=Gauge("gymkhana_ready"),
    summary="Somebody tries whether alerts arrive. Nothing is wrong.",
    what_to_do="Nothing.",
    runbook="docs/runbooks/README.md",
    above=0,
)


async def trial(receivers: Sequence[Receiver]) -> list[Answer]:
    """Each receiver was sent it once; what each answered, in their order."""
    now = time.time()
    course = Course(RULE.name, "firing", since=now, fired=now, value=1.0)
    notice = Notice(RULE.severity, (Shown(RULE, course, "firing"),), ())
    return list(await asyncio.gather(*(one.send(notice, now) for one in receivers)))
