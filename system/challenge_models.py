"""Challenges between two users, and every step one went through."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from system.database import Base
from system.operations_models import Effect, Id

ISSUED, ACCEPTED, SETTLED, DECLINED, EXPIRED = "issued", "accepted", "settled", "declined", "expired"


class Challenge(Effect, Base):
    """A stake offered by one user to another. While accepted, both stakes are in its escrow account."""

    __tablename__ = "challenges"
    __table_args__ = (
        CheckConstraint("stake > 0", name="stake_positive"),
        CheckConstraint("challenger_id <> opponent_id", name="two_users"),
    )
    effect_columns = ("challenger_id", "opponent_id", "title", "stake", "created_ms", "expires_ms")

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    challenger_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    opponent_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    title: Mapped[str] = mapped_column(String(120))
    stake: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(10), index=True)
    winner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_ms: Mapped[int] = mapped_column(BigInteger)
    expires_ms: Mapped[int] = mapped_column(BigInteger, index=True)


class ChallengeStep(Effect, Base):
    """A challenge entered a state."""

    __tablename__ = "challenge_steps"
    effect_columns = ("challenge_id", "state", "actor_id", "at_ms")

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    challenge_id: Mapped[int] = mapped_column(ForeignKey("challenges.id"), index=True)
    state: Mapped[str] = mapped_column(String(10))
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    at_ms: Mapped[int] = mapped_column(BigInteger)
