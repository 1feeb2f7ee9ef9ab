"""How a load is doing right now, folded line by line while it runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from loadtests.ledger import Done, Line, User
from loadtests.measure import in_ms, is_good
from loadtests.percentiles import percentile
from loadtests.scenario import Scenario

LOOK_BACK_S = 10.0


class Pulse:
    """The newest figures of a load: users up, requests and failures so far, rate and p95 of the last ten seconds."""

    def __init__(self, scenario: Scenario) -> None:
        self._expected = {flow.name: frozenset(flow.expect) for flow in scenario.flows}
        self._recent: deque[tuple[float, float]] = deque()
        self.users = self.requests = self.failures = 0

    def feed(self, lines: Iterable[Line]) -> None:
        """Takes in the lines written since the last time."""
        for line in lines:
            if isinstance(line, User):
                self.users += 1 if line.up else -1
            elif isinstance(line, Done):
                self.requests += 1
                if is_good(line, self._expected):
                    self._recent.append((line.t + line.d, line.d))
                else:
                    self.failures += 1

    def line(self, now: float) -> str:
        """One line for people, as of the monotonic instant `now`."""
        while self._recent and self._recent[0][0] < now - LOOK_BACK_S:
            self._recent.popleft()
        durations = sorted(duration for _, duration in self._recent)
        p95 = in_ms(percentile(durations, 95)) if durations else None
        speed = "no answer yet" if p95 is None else f"p95 {p95:.0f} ms"
        rate = len(durations) / LOOK_BACK_S
        return f"{self.users} users  {self.requests} requests  {rate:.0f}/s  {speed}  {self.failures} failures"
