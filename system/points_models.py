"""Points: accounts with a balance, and the transfers that explain every balance."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from system.database import Base
from system.operations_models import Effect, Id

MINT, USER, ESCROW, POOL = "mint", "user", "escrow", "pool"


class PointsAccount(Base):
    """An account: the mint's (one, allowed below zero), a user's, a challenge's escrow, a tournament's pool."""

    __tablename__ = "points_accounts"
    __table_args__ = (
        UniqueConstraint("kind", "owner_id"),
        CheckConstraint("balance >= 0 OR kind = 'mint'", name="not_overdrawn"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    owner_id: Mapped[int] = mapped_column(Id)
    balance: Mapped[int] = mapped_column(Integer, default=0)


class PointsTransfer(Effect, Base):
    """Points moved from one account to another. Never changed, never deleted."""

    __tablename__ = "points_transfers"
    __table_args__ = (CheckConstraint("amount > 0", name="amount_positive"),)
    effect_columns = ("from_id", "to_id", "amount", "kind", "reference", "at_ms")

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    from_id: Mapped[int] = mapped_column(ForeignKey("points_accounts.id"), index=True)
    to_id: Mapped[int] = mapped_column(ForeignKey("points_accounts.id"), index=True)
    amount: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(30))
    reference: Mapped[int | None] = mapped_column(Id)
    at_ms: Mapped[int] = mapped_column(BigInteger)
