"""Who was in force at the last look, for the time when the database is away and nobody can be looked up.

Only watchable routes ask here (`access.Rule`), which show what the process has in memory and change nothing. As long as the
database answers, everybody here is looked up again every few seconds, so that whoever was shut out is not remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from system.admin.access import NOBODY, Nobody, Principal
from system.errors import Unavailable

PLACES = 64
LASTING_MS = 3_600_000
"""How long somebody is remembered whom nobody could look up."""

LookUp = Callable[[str, int], Awaitable[Principal]]
"""By what they show, and the instant. Raises Unavailable."""


class Remembered:
    """Whoever was let in lately, by what they showed: never the token itself, which is known here by its hash."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[Principal, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def note(self, shown: str, principal: Principal, now_ms: int) -> None:
        """That is who they were at this look; whoever was nobody then is not remembered any more."""
        self._known.pop(shown, None)
        if isinstance(principal, Nobody):
            return
        self._known[shown] = (principal, now_ms)
        if len(self._known) > PLACES:
            self._known.popitem(last=False)

    def principal(self, shown: str, now_ms: int) -> Principal:
        """Who they were at the last look; nobody when there was none within the hour."""
        principal, at_ms = self._known.get(shown, (NOBODY, 0))
        return principal if now_ms - at_ms <= LASTING_MS else NOBODY

    async def look_again(self, look_up: LookUp, now_ms: int) -> None:
        """Everybody remembered has been looked up again, as far as that is possible now."""
        for shown in list(self._known):
            try:
                self.note(shown, await look_up(shown, now_ms), now_ms)
            except Unavailable:
                return
