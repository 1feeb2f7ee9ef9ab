"""Challenges over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta

from system import challenge_service, http
from system.openapi.bodies import takes
from system.shapes import ID_MAX, Before, BodyId, Limit, Line, PathId

router = APIRouter(prefix="/challenges", tags=["challenges"])


class NewChallenge(msgspec.Struct, forbid_unknown_fields=True):
    """Whom somebody challenges, to what, for how many points."""

    opponent_id: BodyId
    stake: Annotated[int, Meta(ge=1, le=10_000)]
    title: Line


class Outcome(msgspec.Struct, forbid_unknown_fields=True):
    """Who won."""

    winner_id: BodyId


@router.get("", response_model=None)
async def challenges(
    request: Request,
    state: Literal["issued", "accepted", "settled", "declined", "expired"] | None = None,
    limit: Limit = 20,
    before: Before = ID_MAX,
) -> Response:
    """The caller's challenges, newest first."""
    return await http.read_own(request, "challenges", challenge_service.listing, state, limit, before)


@router.post("", response_model=None, status_code=201, openapi_extra=takes(NewChallenge))
async def issue(request: Request) -> Response:
    """Challenge somebody."""
    wanted = await http.own_body(request, NewChallenge)
    return await http.write_own(request, challenge_service.issue, wanted.opponent_id, wanted.stake, wanted.title)


@router.get("/{challenge_id}", response_model=None)
async def challenge(request: Request, challenge_id: PathId) -> Response:
    """One of the caller's challenges."""
    return await http.read_own(request, "challenges", challenge_service.challenge, challenge_id)


@router.post("/{challenge_id}/accept", response_model=None)
async def accept(request: Request, challenge_id: PathId) -> Response:
    """Accept: both stakes go into escrow."""
    return await http.write_own(request, challenge_service.accept, challenge_id)


@router.post("/{challenge_id}/decline", response_model=None)
async def decline(request: Request, challenge_id: PathId) -> Response:
    """Decline."""
    return await http.write_own(request, challenge_service.decline, challenge_id)


@router.post("/{challenge_id}/settle", response_model=None, openapi_extra=takes(Outcome))
async def settle(request: Request, challenge_id: PathId) -> Response:
    """Say who won; both stakes are theirs."""
    wanted = await http.own_body(request, Outcome)
    return await http.write_own(request, challenge_service.settle, challenge_id, wanted.winner_id)
