"""Who may administer, what they hold to prove it, and what they did.

None of these tables is an effect of the platform's operations: what the ledger of a drill proves is the platform, and a
digest of a session would say nothing about it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from system.database import Base
from system.operations_models import Id


class AdminAccount(Base):
    """Somebody who may sign in to the admin part, and as what. There is none until somebody makes one."""

    __tablename__ = "admin_accounts"
    __table_args__ = (CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role_known"),)

    id: Mapped[int] = mapped_column(Id, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    role: Mapped[str] = mapped_column(String(20))
    password_hash: Mapped[str] = mapped_column(String(200))
    created_ms: Mapped[int] = mapped_column(BigInteger)
    disabled_ms: Mapped[int | None] = mapped_column(BigInteger)


class AdminSession(Base):
    """A log-in of an account. The token itself is known to the browser alone; here is its SHA-256.

    Sessions are kept after their end: `network`, where an account has logged in before, is what keeps strangers' wrong
    passwords from locking its owner out.
    """

    __tablename__ = "admin_sessions"
    __table_args__ = (Index("ix_admin_sessions_account_id_network", "account_id", "network"),)

    id: Mapped[int] = mapped_column(Id, Identity(), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("admin_accounts.id"))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    network: Mapped[str] = mapped_column(String(64))
    agent: Mapped[str] = mapped_column(String(200))
    created_ms: Mapped[int] = mapped_column(BigInteger)
    seen_ms: Mapped[int] = mapped_column(BigInteger)
    expires_ms: Mapped[int] = mapped_column(BigInteger)
    revoked_ms: Mapped[int | None] = mapped_column(BigInteger)


class AdminToken(Base):
    """What a machine shows instead of a session, for its scopes only. It was shown once; here is its SHA-256."""

    __tablename__ = "admin_tokens"

    id: Mapped[int] = mapped_column(Id, Identity(), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("admin_accounts.id"), index=True)
    name: Mapped[str] = mapped_column(String(80))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(String(200))
    created_ms: Mapped[int] = mapped_column(BigInteger)
    expires_ms: Mapped[int] = mapped_column(BigInteger)
    used_ms: Mapped[int | None] = mapped_column(BigInteger)
    revoked_ms: Mapped[int | None] = mapped_column(BigInteger)


class AdminAction(Base):
    """Who did what, on what, from where and when: written with the action itself, and never changed until it is pruned.

    Names are written out and point nowhere, because the record has to say the same when what it speaks of is gone.
    """

    __tablename__ = "admin_audit"
    __table_args__ = (
        Index(None, "at_ms", "id"),
        Index(None, "account_id", "at_ms", "id"),
        Index(None, "action", "at_ms", "id"),
    )

    id: Mapped[int] = mapped_column(Id, Identity(), primary_key=True)
    operation_id: Mapped[str] = mapped_column(String(120), unique=True)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(80))
    account_id: Mapped[int | None] = mapped_column(Id)
    token_id: Mapped[int | None] = mapped_column(Id)
    address: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(160))
    detail: Mapped[str] = mapped_column(Text, default="")
