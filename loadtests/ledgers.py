"""The ledgers of several processes become one, if their accounts balance.

Each process's end line must count the lines its file holds, no operation and no user may be in two of them, and the end line
of the whole is the sum. When the accounts do not balance the whole gets no end line, and whoever reads it is told so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from loadtests.history import decode, flaws_of, on_monotonic_clock
from loadtests.ledger import Clock, Done, End, Invoke, Line, User, append

SAME_CLOCK_S = 1.0
"""Clocks that differ by less are those of one machine, whose monotonic seconds need no translation."""


def merge(parts: Sequence[Path], into: Path) -> tuple[str, ...]:
    """`into` holds the lines of all `parts` on the first one's clock; why the accounts do not balance, or nothing.

    A part that is missing is one whose process never wrote a word.
    """
    ledgers: dict[Path, list[Line]] = {}
    flaws: list[str] = []
    for part in parts:
        lines, bad = decode(part.read_bytes()) if part.exists() else ([], 0)
        ledgers[part] = on_monotonic_clock(lines, part)
        flaws += flaws_of(ledgers[part], bad, part)
    flaws += _shared(ledgers)
    whole = _on_one_clock(list(ledgers.values()))
    ends = [line for line in whole if isinstance(line, End)]
    rest = sorted((line for line in whole if not isinstance(line, Clock | End)), key=_written)
    clocks = [line for lines in ledgers.values() for line in lines if isinstance(line, Clock)]
    lines = [*clocks[:1], *rest]
    if not flaws:
        lines.append(
            End(
                invoked=sum(end.invoked for end in ends),
                done=sum(end.done for end in ends),
                dropped=sum(end.dropped for end in ends),
                t=max(end.t for end in ends),
            )
        )
    append(into, *lines)
    return tuple(flaws)


def _shared(ledgers: dict[Path, list[Line]]) -> Iterator[str]:
    """What is in two ledgers and may be in one only."""
    users = Counter(user for lines in ledgers.values() for user in {one.user for one in lines if isinstance(one, User)})
    yield from (f"user {user} is in {times} ledgers" for user, times in users.items() if times > 1)
    operations = Counter(
        op for lines in ledgers.values() for op in {one.op for one in lines if isinstance(one, Invoke)}
    )
    yield from (f"{op} is in {times} ledgers" for op, times in operations.items() if times > 1)


def _on_one_clock(ledgers: Sequence[Sequence[Line]]) -> list[Line]:
    """Every line, its instant as the first ledger's process would have read it."""
    clocks = [next((line for line in lines if isinstance(line, Clock)), None) for lines in ledgers]
    first = next((clock for clock in clocks if clock is not None), None)
    whole: list[Line] = []
    for clock, lines in zip(clocks, ledgers, strict=True):
        shift = 0.0
        if clock is not None and first is not None:
            shift = (clock.wall - clock.mono) - (first.wall - first.mono)
        if abs(shift) < SAME_CLOCK_S:
            whole += lines
        else:
            whole += [
                line if isinstance(line, Clock) else msgspec.structs.replace(line, t=line.t + shift) for line in lines
            ]
    return whole


def _written(line: Line) -> float:
    """When the line was written, so that the whole is in the order in which things were said."""
    if isinstance(line, Clock):
        return line.mono
    return line.t + line.d if isinstance(line, Done) else line.t
