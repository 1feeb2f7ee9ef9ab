"""The order of a tournament's entrants, from their matches' scores alone.

Most wins first, then most points scored, then whoever entered earlier. Only a closed match is won, drawn or lost; points
scored in one that is still being played count already.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from system.tournament_models import CLOSED


class Score(NamedTuple):
    """How a match stands, or how it ended when it is closed."""

    home_id: int
    away_id: int
    home: int
    away: int
    state: str


class Standing(msgspec.Struct):
    """One entrant's line in the table."""

    user_id: int
    name: str
    wins: int = 0
    draws: int = 0
    losses: int = 0
    scored: int = 0


def table(entrants: Iterable[tuple[int, str]], scores: Iterable[Score]) -> list[Standing]:
    """The table, best first. `entrants` are `(user_id, name)` in the order they entered; the matches are between them."""
    lines = {user_id: Standing(user_id, name) for user_id, name in entrants}
    for score in scores:
        _count(lines[score.home_id], score.home, score.away, score.state)
        _count(lines[score.away_id], score.away, score.home, score.state)
    return sorted(
        lines.values(), key=lambda line: (-line.wins, -line.scored)
    )  # stable: who entered earlier stays first


def _count(line: Standing, own: int, other: int, state: str) -> None:
    line.scored += own
    if state != CLOSED:
        return
    if own > other:
        line.wins += 1
    elif own < other:
        line.losses += 1
    else:
        line.draws += 1
