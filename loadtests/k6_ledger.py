"""What k6 cannot write into its own ledger: the clock line before its lines, the users' departures and the end line after.

    adapter: clock | k6: user, invoke, done, ... | adapter: user (gone), end

The counts of the end line come from k6's own counters, so that lines lost on the way to the file show. When k6 is stopped by
a signal it drops the last samples of its counters, never lines: a file that holds more lines than were counted is whole.
"""

from __future__ import annotations

import time

import msgspec

from loadtests.history import decode, on_monotonic_clock
from loadtests.ledger import Done, End, Invoke, Line, User, append, clock_line
from loadtests.plan import LoadPlan


class Counters(msgspec.Struct, frozen=True):
    """What the script's `handleSummary` says: how many lines of a kind it wrote, how many arrivals found no VU."""

    invoked: int
    done: int
    dropped: int = 0


def begin(plan: LoadPlan) -> None:
    """The ledger exists and holds its clock line."""
    append(plan.ledger, clock_line(plan.run, "k6"))


def finish(plan: LoadPlan) -> None:
    """The ledger has its end line, if k6 lived to count its lines; without its counters the ledger stays cut short."""
    try:
        counters = msgspec.json.decode(plan.k6_summary.read_bytes(), type=Counters)
        found, _ = decode(plan.ledger.read_bytes())
    except (OSError, msgspec.DecodeError):
        return
    lines = on_monotonic_clock(found, plan.ledger)
    now = time.monotonic()
    append(
        plan.ledger,
        *(User(user=number, t=now, up=False) for number in _up(lines)),
        End(
            invoked=max(counters.invoked, sum(isinstance(line, Invoke) for line in lines)),
            done=max(counters.done, sum(isinstance(line, Done) for line in lines)),
            t=now,
            dropped=counters.dropped,
        ),
    )


def _up(lines: list[Line]) -> list[int]:
    """Users that began and did not end, in the order they began."""
    up = dict.fromkeys(line.user for line in lines if isinstance(line, User) and line.up)
    for line in lines:
        if isinstance(line, User) and not line.up:
            up.pop(line.user, None)
    return list(up)
