"""The stores that the log is shipped to, when they are several: one that was away comes back while the others go on.

    away ──every few seconds, in a thread──▶ brought level ──between two segments──▶ shipped to again

Most of what it missed, backups too, is copied beside the shipping; whoever waits for a segment waits for the last few only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from backups.clock import Clock
from backups.errors import BackupError
from backups.log import segments
from backups.stores.mirrored import MirroredStore
from backups.stores.store import Store

LOOK_EVERY_S: Final = 5.0


class Copies:
    """To be used by the one thread that ships. A store that is alone needs none of it; `reopen` opens the same anew."""

    def __init__(self, store: Store, reopen: Callable[[], Store], say: Callable[..., None], clock: Clock) -> None:
        self._mirror = store if isinstance(store, MirroredStore) else None
        self._reopen = reopen
        self._say = say
        self._clock = clock
        self._told: tuple[str, ...] = ()
        self._thread: threading.Thread | None = None
        self._opened: MirroredStore | None = None
        self._due_t = float("-inf")

    def begin(self) -> None:
        """A store that missed something before this process began is not shipped to until it has it."""
        if self._mirror is not None:
            self._mirror.set_aside_behind(segments.PREFIX)

    def tell(self) -> None:
        """Say which stores are away, when that has changed."""
        if self._mirror is not None and self._mirror.trouble != self._told:
            self._told = self._mirror.trouble
            self._say("copies away", why=list(self._told))

    def tend(self) -> None:
        """What is to be done now and then; returns at once unless a store is just coming back."""
        mirror = self._mirror
        if mirror is None or not mirror.away or (self._thread is not None and self._thread.is_alive()):
            return
        if self._thread is None:
            if self._clock.monotonic() >= self._due_t:
                self._thread = threading.Thread(target=self._level, args=(mirror.away,), name="copies", daemon=True)
                self._thread.start()
            return
        self._thread, self._due_t = None, self._clock.monotonic() + LOOK_EVERY_S
        if self._opened is not None:
            back = mirror.rejoin(self._opened, segments.PREFIX)
            self._told = mirror.trouble
            if back:
                self._say("copies back", stores=list(back), away=list(mirror.away))

    def _level(self, away: tuple[str, ...]) -> None:
        """In the thread: what the stores that answer again have missed is copied; one that does not stays away."""
        self._opened = None
        try:
            opened = self._reopen()
            if isinstance(opened, MirroredStore):
                opened.level(only=frozenset(away) - frozenset(opened.away))
                self._opened = opened
        except BackupError:
            return  # It is away still, or somebody holds the lock; the next look comes soon.
