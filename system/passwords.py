"""Passwords: argon2id, hashed on a few threads of their own, so that a thousand log-ins at once cannot starve the rest.

Parameters are OWASP's (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from system.errors import Unavailable

R = TypeVar("R")

HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RGVmaW5pdGVseU5vdEFIYXNoT2ZBbnl0aGluZ0hlcmU"
"""A hash nothing verifies against: an unknown name costs the same time as a wrong password."""


class HashingPool:
    """`threads` hash at a time and `places` may wait, those hashing included; one more is refused at once."""

    def __init__(self, threads: int, places: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="argon2")
        self._places = threading.BoundedSemaphore(places)

    def beside(self, places: int) -> HashingPool:
        """The same threads with places of their own: who is there is not kept out by those here, and takes no more cores."""
        other = copy.copy(self)
        other._places = threading.BoundedSemaphore(places)
        return other

    async def hash(self, password: str) -> str:
        """The password's hash. Raises Unavailable when too many wait."""
        return await self._run(lambda: HASHER.hash(password))

    async def verify(self, known: str | None, password: str) -> bool:
        """Whether the password is the one hashed as `known`; None takes as long and is never right."""
        return await self._run(lambda: _matches(known or NOBODYS, password)) and known is not None

    def outdated(self, known: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return HASHER.check_needs_rehash(known)

    def close(self) -> None:
        """Waits for what is being hashed and ends the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _run(self, work: Callable[[], R]) -> R:
        if not self._places.acquire(blocking=False):
            raise Unavailable("hashing-busy", "Too many log-ins and sign-ups are waiting.")
        hashing = self._pool.submit(work)
        # Freed when the work ends, not when its caller gives up: a client that goes away leaves its thread busy.
        hashing.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(hashing)


def _matches(known: str, password: str) -> bool:
    try:
        return HASHER.verify(known, password)
    except (VerificationError, InvalidHashError):
        return False
