"""What the admin part keeps for as long as the process lives, and what a handler there does with a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from system import http
from system.admin.access import NOBODY, Machine, Person, Principal, Rule
from system.admin.actions import By, operation
from system.admin.origin import Forwarded, Network, Origin, origin_of, trusted_networks
from system.admin.remembered import Remembered
from system.admin.throttle import Throttle
from system.jobs import Job
from system.lanes import Written
from system.passwords import HashingPool
from system.settings import Settings

PLACES = 4
"""Log-ins of strangers that wait for the hashing thread; as many of those who have been here before wait beside them."""


@dataclass(frozen=True, slots=True)
class Desk:
    """How long sessions last, which proxies are believed, who waits for their password to be looked at, and the rules."""

    session_ms: int
    idle_ms: int
    trusted: tuple[Network, ...]
    familiar: HashingPool
    strangers: HashingPool
    throttle: Throttle
    rules: tuple[Rule, ...]
    remembered: Remembered = field(default_factory=Remembered)


def open_desk(config: Settings, hashing: HashingPool, rules: tuple[Rule, ...]) -> Desk:
    """The desk of this process. Passwords are hashed in the threads of everybody's, with places of their own."""
    return Desk(
        session_ms=config.admin_session_hours * 3_600_000,
        idle_ms=config.admin_idle_minutes * 60_000,
        trusted=trusted_networks(config.trusted_proxies),
        familiar=hashing.beside(PLACES),
        strangers=hashing.beside(PLACES),
        throttle=Throttle(),
        rules=rules,
    )


def desk_of(request: Request) -> Desk:
    """The process's desk."""
    found: Desk = request.app.state.admin
    return found


def origin(request: Request) -> Origin:
    """Where the request comes from."""
    headers = request.headers
    forwarded = Forwarded(",".join(headers.getlist("x-forwarded-for")), ",".join(headers.getlist("x-forwarded-proto")))
    peer = request.client.host if request.client else "unknown"
    return origin_of(peer, request.url.scheme, forwarded, desk_of(request).trusted)


def principal_of(request: Request) -> Principal:
    """Who asks, as it was decided for this request."""
    found: Principal = getattr(request.state, "principal", NOBODY)
    return found


def person(request: Request) -> Person:
    """The account that asks, in a handler whose rule lets no machine in."""
    found = principal_of(request)
    assert isinstance(found, Person)
    return found


def by(request: Request) -> By:
    """Who asks, as the audit log names them."""
    asking, address = principal_of(request), origin(request).address
    if isinstance(asking, Person):
        return By(asking.name, address, account_id=asking.account_id)
    assert isinstance(asking, Machine)
    return By(f"token {asking.name}"[:80], address, token_id=asking.token_id)


async def act(request: Request, job: Job, *args: Any) -> Written:
    """The admin job is done and recorded once this returns. Raises what the lane and the job raise."""
    return await http.lanes(request).write(job, by(request).plain(), *args, operation=operation(http.now_ms()))
