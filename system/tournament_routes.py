"""Tournaments and matches over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta

from system import http, match_service, tournament_reads, tournament_service
from system.openapi.bodies import takes
from system.shapes import After, BodyId, Limit, PathId, ShortLine

router = APIRouter(tags=["tournaments"])


class NewTournament(msgspec.Struct, forbid_unknown_fields=True):
    """A tournament somebody wants to organise."""

    name: ShortLine
    capacity: Annotated[int, Meta(ge=2, le=100_000)]
    entry_fee: Annotated[int, Meta(ge=0, le=1_000)] = 0


class Pairing(msgspec.Struct, forbid_unknown_fields=True):
    """Who plays whom."""

    home_id: BodyId
    away_id: BodyId


class Score(msgspec.Struct, forbid_unknown_fields=True):
    """Which side scored, and how much."""

    side: Literal["home", "away"]
    points: Annotated[int, Meta(ge=1, le=10)]


@router.get("/tournaments", response_model=None)
async def tournaments(
    request: Request,
    state: Literal["draft", "open", "finished"] | None = None,
    limit: Limit = 20,
    after: After = 0,
) -> Response:
    """Tournaments by id."""
    return await http.read(request, "tournaments", tournament_reads.listing, state, limit, after)


@router.post("/tournaments", response_model=None, status_code=201, openapi_extra=takes(NewTournament))
async def create(request: Request) -> Response:
    """Organise a tournament; it starts as a draft."""
    wanted = await http.own_body(request, NewTournament)
    return await http.write_own(request, tournament_service.create, wanted.name, wanted.capacity, wanted.entry_fee)


@router.get("/tournaments/{tournament_id}", response_model=None)
async def tournament(request: Request, tournament_id: PathId) -> Response:
    """One tournament."""
    return await http.read(request, "tournaments", tournament_reads.tournament, tournament_id)


@router.post("/tournaments/{tournament_id}/open", response_model=None)
async def open_(request: Request, tournament_id: PathId) -> Response:
    """Let users join."""
    return await http.write_own(request, tournament_service.open_, tournament_id)


@router.post("/tournaments/{tournament_id}/entries", response_model=None, status_code=201)
async def join(request: Request, tournament_id: PathId) -> Response:
    """Take a place; the fee goes from the caller's points into the pool."""
    return await http.write_own(request, tournament_service.join, tournament_id)


@router.get("/tournaments/{tournament_id}/standings", response_model=None)
async def standings(request: Request, tournament_id: PathId) -> Response:
    """The entrants, best first."""
    return await http.read(request, "tournaments", tournament_service.ranking, tournament_id)


@router.get("/tournaments/{tournament_id}/matches", response_model=None)
async def matches(request: Request, tournament_id: PathId) -> Response:
    """The tournament's matches."""
    return await http.read(request, "tournaments", match_service.listing, tournament_id)


@router.post("/tournaments/{tournament_id}/matches", response_model=None, status_code=201, openapi_extra=takes(Pairing))
async def pair(request: Request, tournament_id: PathId) -> Response:
    """Pair two entrants for a match."""
    wanted = await http.own_body(request, Pairing)
    return await http.write_own(request, match_service.pair, tournament_id, wanted.home_id, wanted.away_id)


@router.post("/tournaments/{tournament_id}/finish", response_model=None)
async def finish(request: Request, tournament_id: PathId) -> Response:
    """End the tournament: one winner, the pool paid once."""
    return await http.write_own(request, tournament_service.finish, tournament_id)


@router.get("/matches/{match_id}", response_model=None)
async def match(request: Request, match_id: PathId) -> Response:
    """One match."""
    return await http.read(request, "matches", match_service.match, match_id)


@router.post("/matches/{match_id}/events", response_model=None, status_code=201, openapi_extra=takes(Score))
async def score(request: Request, match_id: PathId) -> Response:
    """Report a score."""
    wanted = await http.own_body(request, Score)
    return await http.write_own(request, match_service.score, match_id, wanted.side, wanted.points)


@router.post("/matches/{match_id}/result", response_model=None)
async def close(request: Request, match_id: PathId) -> Response:
    """Make the match's score final."""
    return await http.write_own(request, match_service.close, match_id)
