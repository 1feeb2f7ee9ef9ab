"""Users and the sessions they hold."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, String, func
from sqlalchemy.orm import Mapped, mapped_column

from system.database import Base
from system.operations_models import Effect, Id


class User(Effect, Base):
    """Somebody who signed up. What they may change later is not part of the sign-up's digest."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("length(display_name) > 0", name="display_name_not_empty"),)
    effect_columns = ("name", "created_ms")

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    display_name: Mapped[str] = mapped_column(String(80))
    bio: Mapped[str] = mapped_column(String(500), default="")
    password_hash: Mapped[str] = mapped_column(String(200))
    created_ms: Mapped[int] = mapped_column(BigInteger)


shown_name = func.coalesce(User.__table__.c.display_name, User.__table__.c.name).label("display_name")
"""Whoever was signed up by code from before display names has none until revision 0003 has filled it."""


class UserSession(Effect, Base):
    """A log-in. The token itself is known to the client alone; here is its SHA-256."""

    __tablename__ = "user_sessions"
    effect_columns = ("user_id", "token_hash", "created_ms", "expires_ms")

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    expires_ms: Mapped[int] = mapped_column(BigInteger)
    revoked_ms: Mapped[int | None] = mapped_column(BigInteger)
