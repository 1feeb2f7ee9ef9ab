"""How much one client may ask: a token bucket each, told in RateLimit fields (draft-ietf-httpapi-ratelimit-headers-10).

A client is its session's token, or without one its address. Tokens are not looked up here, so a token that turns out to be
nobody's is charged to the address it came from: made-up ones buy nothing. Each HTTP process counts for itself.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from system.errors import RateLimited


@dataclass(frozen=True, slots=True)
class Standing:
    """How a client stands: what is left to it, and in how many seconds it has everything again."""

    remaining: int
    whole_in_s: int


class Rates:
    """`quota` requests in `window_s` seconds for each client, spread evenly, all of them at once if they were saved up.

    At most `clients` are remembered; the one that was silent longest is forgotten first, and then has its whole quota.
    """

    def __init__(self, quota: int, window_s: int, clients: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._quota = quota
        self._per_second = quota / window_s
        self._clients = clients
        self._clock = clock
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        self._policy = f'"client";q={quota};w={window_s}'.encode()

    def spend(self, client: bytes) -> Standing:
        """One request is the client's. Raises RateLimited, with the seconds until the next one, when it has none left."""
        left = self._left(client)
        if left < 1.0:
            wait_s = math.ceil((1.0 - left) / self._per_second)
            raise RateLimited("rate-limited", "This client has used up its requests.", retry_after_s=max(1, wait_s))
        self._keep(client, left - 1.0)
        return self._standing(left - 1.0)

    def standing(self, client: bytes) -> Standing:
        """How the client stands, nothing spent."""
        return self._standing(self._left(client))

    def fields(self, standing: Standing) -> list[tuple[bytes, bytes]]:
        """The policy, and where the client stands in it, as header fields."""
        state = f'"client";r={standing.remaining};t={standing.whole_in_s}'
        return [(b"ratelimit-policy", self._policy), (b"ratelimit", state.encode())]

    def __len__(self) -> int:
        return len(self._buckets)

    def _standing(self, left: float) -> Standing:
        return Standing(int(left), math.ceil((self._quota - left) / self._per_second))

    def _left(self, client: bytes) -> float:
        left, at = self._buckets.get(client, (float(self._quota), 0.0))
        return min(float(self._quota), left + (self._clock() - at) * self._per_second)

    def _keep(self, client: bytes, left: float) -> None:
        self._buckets[client] = (left, self._clock())
        self._buckets.move_to_end(client)
        while len(self._buckets) > self._clients:
            self._buckets.popitem(last=False)


def client_of(authorization: bytes, address: str) -> bytes:
    """Who asks: a digest of the bearer's token, never the token, or the address."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() == b"bearer" and token:
        return hashlib.blake2b(token, digest_size=16).digest()
    return by_address(address)


def by_address(address: str) -> bytes:
    """The client that an address is."""
    return address.encode()
