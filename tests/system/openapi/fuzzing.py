"""Requests that nobody thought of, made by Schemathesis from a description, and what was wrong with the answers."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Err

LEAST = 2
"""However little time there is, every operation is asked as often, rightly and wrongly."""
LONGEST_S = 10.0
"""An answer that takes longer is a crash, too."""


@dataclass
class Fuzzed:
    """How often each operation was asked and answered what, and every failure, told once for each operation."""

    asked: dict[str, Counter[int]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def total(self) -> int:
        """How often anything was asked."""
        return sum(answers.total() for answers in self.asked.values())

    def fewest(self) -> int:
        """How often the least asked operation was asked; one that takes nothing can be asked in one way only."""
        return min((sum(answers.values()) for answers in self.asked.values()), default=0)


def fuzz(
    document: Mapping[str, Any],
    url: str,
    headers: Callable[[], Mapping[str, str]],
    checks: Sequence[Any],
    *,
    examples: int,
    most_s: float,
    numbered: int = 1,
) -> Fuzzed:
    """Every operation is asked with right and with wrong requests, until there are enough or its share of the time is over.

    `headers` are asked for anew before each operation: the last one may have ended a session.
    """
    found = Fuzzed()
    schema = schemathesis.openapi.from_dict(dict(document))
    operations = [_right(result) for result in schema.get_all_operations()]
    share_s = most_s / len(operations) / 2
    with requests.Session() as session:
        for operation in operations:
            asking = _Asking(url, session, dict(headers()), checks, found)
            asking.all_of(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), examples, numbered, share_s)
            with contextlib.suppress(Unsatisfiable):  # Of what takes nothing at all, no wrong request can be made.
                asking.all_of(
                    operation.as_strategy(generation_mode=GenerationMode.NEGATIVE), examples, numbered, share_s
                )
    return found


def _right(result: Any) -> Any:
    """The operation that was read. Raises what was wrong with its description."""
    if isinstance(result, Err):
        raise result.err()
    return result.ok()


@dataclass(frozen=True)
class _Asking:
    """Whom to ask, as whom, and where the answers go."""

    url: str
    session: requests.Session
    headers: dict[str, str]
    checks: Sequence[Any]
    found: Fuzzed

    def all_of(self, cases: Any, examples: int, numbered: int, share_s: float) -> None:
        """So many of the cases are asked, the same ones each time; fewer when they take longer than their share."""
        deadline, asked = time.monotonic() + share_s, 0

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @seed(numbered)
        @given(case=cases)
        def each(case: Any) -> None:
            nonlocal asked
            if time.monotonic() <= deadline or asked < LEAST:
                asked += 1
                self.one(case)

        each()

    def one(self, case: Any) -> None:
        """The answer is counted, and what is wrong with it is kept."""
        response = case.call(
            base_url=self.url, session=self.session, headers=self.headers, timeout=LONGEST_S, allow_redirects=False
        )
        label = case.operation.label
        self.found.asked.setdefault(label, Counter())[response.status_code] += 1
        try:
            case.validate_response(response, checks=list(self.checks))
        except FailureGroup as group:
            self.found.failures.setdefault(label, "; ".join(str(one) for one in group.exceptions))
