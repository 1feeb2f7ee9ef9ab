"""Notifications: the outbox written with the event, the inbox they are delivered to, and the log of every attempt."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from system.database import Base
from system.operations_models import Effect, Id

PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"


class OutboxEntry(Effect, Base):
    """Somebody is to be told of something. Written in the event's own transaction, so neither exists without the other."""

    __tablename__ = "notification_outbox"
    __table_args__ = (
        UniqueConstraint("operation_id", "user_id", "kind"),
        Index("ix_notification_outbox_due", "state", "next_attempt_ms"),
    )
    effect_columns = ("user_id", "kind", "text", "subject_id", "at_ms")

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str] = mapped_column(String(40))
    text: Mapped[str] = mapped_column(String(300))
    subject_id: Mapped[int | None] = mapped_column(Id)
    state: Mapped[str] = mapped_column(String(10))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    next_attempt_ms: Mapped[int] = mapped_column(BigInteger)
    at_ms: Mapped[int] = mapped_column(BigInteger)


class Notification(Base):
    """A delivered notification in a user's inbox: at most one per outbox entry, whatever the worker went through."""

    __tablename__ = "notifications"
    __table_args__ = (Index("ix_notifications_inbox", "user_id", "id"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    outbox_id: Mapped[int] = mapped_column(ForeignKey("notification_outbox.id"), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str] = mapped_column(String(40))
    text: Mapped[str] = mapped_column(String(300))
    subject_id: Mapped[int | None] = mapped_column(Id)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    read_ms: Mapped[int | None] = mapped_column(BigInteger)


class DeliveryAttempt(Base):
    """One attempt to deliver one outbox entry, and how it came out."""

    __tablename__ = "notification_deliveries"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    outbox_id: Mapped[int] = mapped_column(ForeignKey("notification_outbox.id"), index=True)
    attempt: Mapped[int] = mapped_column(Integer)
    outcome: Mapped[str] = mapped_column(String(10))
    error: Mapped[str] = mapped_column(String(300), default="")
    at_ms: Mapped[int] = mapped_column(BigInteger)
