"""Tournaments: entries, matches, and the events that make up a score."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from system.database import Base
from system.operations_models import Effect, Id

DRAFT, OPEN, FINISHED = "draft", "open", "finished"
PLAYING, CLOSED = "playing", "closed"


class Tournament(Effect, Base):
    """A tournament. `entries` counts its entry rows and never exceeds `capacity`."""

    __tablename__ = "tournaments"
    __table_args__ = (
        CheckConstraint("capacity > 0", name="capacity_positive"),
        CheckConstraint("entries BETWEEN 0 AND capacity", name="entries_within_capacity"),
        CheckConstraint("entry_fee >= 0", name="entry_fee_not_negative"),
    )
    effect_columns = ("name", "organiser_id", "capacity", "entry_fee", "created_ms")

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    organiser_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    state: Mapped[str] = mapped_column(String(10), index=True)
    capacity: Mapped[int] = mapped_column(Integer)
    entries: Mapped[int] = mapped_column(Integer, default=0)
    entry_fee: Mapped[int] = mapped_column(Integer)
    winner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_ms: Mapped[int] = mapped_column(BigInteger)


class TournamentEntry(Effect, Base):
    """One user's place in one tournament."""

    __tablename__ = "tournament_entries"
    __table_args__ = (UniqueConstraint("tournament_id", "user_id"),)
    effect_columns = ("tournament_id", "user_id", "at_ms")

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    tournament_id: Mapped[int] = mapped_column(ForeignKey("tournaments.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    at_ms: Mapped[int] = mapped_column(BigInteger)


class Match(Effect, Base):
    """Two entrants playing. Its score is the sum of its events, kept here for reading."""

    __tablename__ = "matches"
    __table_args__ = (CheckConstraint("home_id <> away_id", name="two_players"),)
    effect_columns = ("tournament_id", "home_id", "away_id", "created_ms")

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    tournament_id: Mapped[int] = mapped_column(ForeignKey("tournaments.id"), index=True)
    home_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    away_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    state: Mapped[str] = mapped_column(String(10))
    home_score: Mapped[int] = mapped_column(Integer, default=0)
    away_score: Mapped[int] = mapped_column(Integer, default=0)
    created_ms: Mapped[int] = mapped_column(BigInteger)


class MatchEvent(Effect, Base):
    """A score in a match."""

    __tablename__ = "match_events"
    __table_args__ = (CheckConstraint("points > 0", name="points_positive"),)
    effect_columns = ("match_id", "side", "points", "at_ms")

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    match_id: Mapped[int] = mapped_column(ForeignKey("matches.id"), index=True)
    side: Mapped[str] = mapped_column(String(4))
    points: Mapped[int] = mapped_column(Integer)
    at_ms: Mapped[int] = mapped_column(BigInteger)
