"""What goes in and out of the obvious version, as pydantic models."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Wanted(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid")


class Shown(BaseModel):
    """A response's body, made from an entity or from keywords."""

    model_config = ConfigDict(from_attributes=True)


class LogIn(Wanted):
    """Who somebody says they are."""

    name: str = Field(max_length=40)
    password: str = Field(max_length=128)


class EditProfile(Wanted):
    """What a user may say of themselves."""

    display_name: str | None = Field(default=None, min_length=1, max_length=80)
    bio: str | None = Field(default=None, max_length=500)


class NewChallenge(Wanted):
    """Whom somebody challenges, to what, for how many points."""

    opponent_id: int = Field(ge=1)
    stake: int = Field(ge=1, le=10_000)
    title: str = Field(min_length=1, max_length=120)


class Winner(Wanted):
    """Who won a challenge."""

    winner_id: int = Field(ge=1)


class Scored(Wanted):
    """Which side scored, and how much."""

    side: Literal["home", "away"]
    points: int = Field(ge=1, le=10)


class PublicProfile(Shown):
    """A user as others see them."""

    id: int
    name: str
    display_name: str
    bio: str


class Profile(PublicProfile):
    """A user as they see themselves."""

    created_ms: int
    points: int


class Entry(BaseModel):
    """A line of a user's points."""

    id: int
    amount: int
    kind: str
    reference: int | None
    at_ms: int


class Points(BaseModel):
    """The balance and what made it, newest first."""

    balance: int
    entries: list[Entry]
    next: int | None


class TournamentView(BaseModel):
    """A tournament with its pool."""

    id: int
    name: str
    state: str
    capacity: int
    entries: int
    entry_fee: int
    organiser_id: int
    winner_id: int | None
    pool: int


class Tournaments(BaseModel):
    """A page of tournaments."""

    tournaments: list[TournamentView]
    next: int | None


class Line(BaseModel):
    """One entrant's line in the table."""

    user_id: int
    name: str
    wins: int
    draws: int
    losses: int
    scored: int


class Standings(BaseModel):
    """The entrants, best first."""

    standings: list[Line]


class NotificationView(Shown):
    """A notification in the inbox."""

    id: int
    kind: str
    text: str
    subject_id: int | None
    at_ms: int
    read_ms: int | None


class Notifications(BaseModel):
    """A page of the inbox."""

    notifications: list[NotificationView]
    next: int | None


class Unread(BaseModel):
    """How many notifications are unread."""

    unread: int


class ChallengeView(Shown):
    """A challenge as its parties see it."""

    id: int
    challenger_id: int
    opponent_id: int
    title: str
    stake: int
    state: str
    winner_id: int | None
    created_ms: int
    expires_ms: int


class Challenges(BaseModel):
    """A page of challenges."""

    challenges: list[ChallengeView]
    next: int | None


class SessionMade(BaseModel):
    """A log-in."""

    session_id: int
    user_id: int
    expires_ms: int
    token: str | None = None


class ScoreNow(BaseModel):
    """A match's score after an event."""

    match_id: int
    event_id: int
    home_score: int
    away_score: int


class Joined(BaseModel):
    """A place in a tournament."""

    tournament_id: int
    user_id: int
    entries: int


class Issued(BaseModel):
    """A new challenge."""

    id: int
    state: str
    expires_ms: int


class Moved(BaseModel):
    """A challenge's new state."""

    id: int
    state: str


class Settled(Moved):
    """A challenge's end."""

    winner_id: int


class Read(BaseModel):
    """A notification that was read."""

    id: int
    read: bool


class AllRead(BaseModel):
    """How many were read at once."""

    read: int
