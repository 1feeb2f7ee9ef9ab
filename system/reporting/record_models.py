"""The service's own records: what was asked of it, what went wrong, what was delivered, how it was, and all of it summed up.

Records are no evidence: nothing of the platform's rules rests on them, they are pruned, and a request succeeds without them.
What happened, and must be provable, is `activity` and `operations` (`operations_models.py`), which are never pruned.
Every index is one that a page is read by: newest first, and the id where two are of one millisecond.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Identity, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from system.database import Base
from system.operations_models import Id

BUCKETS_MS = (5, 10, 25, 50, 100, 250, 500, 1000)
"""Upper bounds of the rollups' latency buckets; what took longer is in none of them."""


def _only(name: str, where: str, *columns: str) -> Index:
    """An index of the few rows that somebody looks for among very many."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


class RequestRecord(Base):
    """One finished request: who asked, for what, how it was answered, and how long that took."""

    __tablename__ = "request_records"
    __table_args__ = (
        Index(None, "at_ms", "id"),
        Index(None, "user_id", "at_ms", "id"),
        Index(None, "kind", "at_ms", "id"),
        _only("ix_request_records_refused", "status >= 400 AND status < 500", "at_ms", "id"),
        _only("ix_request_records_failed", "status >= 500", "at_ms", "id"),
        _only("ix_request_records_kind_refused", "status >= 400 AND status < 500", "kind", "at_ms", "id"),
        _only("ix_request_records_kind_failed", "status >= 500", "kind", "at_ms", "id"),
    )

    id: Mapped[int] = mapped_column(Id, Identity(), primary_key=True)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    user_id: Mapped[int | None] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(String(60))
    status: Mapped[int] = mapped_column(BigInteger)
    took_us: Mapped[int] = mapped_column(BigInteger)
    request_id: Mapped[str] = mapped_column(String(120))
    operation_id: Mapped[str | None] = mapped_column(String(120))


class ErrorRecord(Base):
    """One kind of error: how often it came, when first and last, and what it said the last time."""

    __tablename__ = "error_records"
    __table_args__ = (UniqueConstraint("fingerprint"), Index(None, "first_ms", "id"), Index(None, "last_ms"))

    id: Mapped[int] = mapped_column(Id, Identity(), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(80))
    code: Mapped[str] = mapped_column(String(60))
    place: Mapped[str] = mapped_column(String(120))
    status: Mapped[int] = mapped_column(BigInteger)
    message: Mapped[str] = mapped_column(String(300))
    request_id: Mapped[str] = mapped_column(String(120))
    count: Mapped[int] = mapped_column(BigInteger)
    first_ms: Mapped[int] = mapped_column(BigInteger)
    last_ms: Mapped[int] = mapped_column(BigInteger)


class DeliveryRecord(Base):
    """One attempt to deliver one outbox entry, and how it came out."""

    __tablename__ = "delivery_records"
    __table_args__ = (
        Index(None, "at_ms", "id"),
        Index(None, "user_id", "at_ms", "id"),
        Index(None, "kind", "at_ms", "id"),
        _only("ix_delivery_records_failed", "outcome = 'failed'", "at_ms", "id"),
    )

    id: Mapped[int] = mapped_column(Id, Identity(), primary_key=True)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    user_id: Mapped[int] = mapped_column(Id)
    kind: Mapped[str] = mapped_column(String(40))
    outcome: Mapped[str] = mapped_column(String(10))
    attempt: Mapped[int] = mapped_column(BigInteger)
    outbox_id: Mapped[int] = mapped_column(Id)
    error: Mapped[str] = mapped_column(String(300))


class HealthRecord(Base):
    """How one HTTP process stood: written when that changes, and now and then when it does not."""

    __tablename__ = "health_records"
    __table_args__ = (Index(None, "at_ms", "id"), Index(None, "status", "at_ms", "id"))

    id: Mapped[int] = mapped_column(Id, Identity(), primary_key=True)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    worker: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(10))
    output: Mapped[str] = mapped_column(Text)


class RequestRollup(Base):
    """The requests of one kind that ended within a minute, or within an hour."""

    __tablename__ = "request_rollups"

    width_s: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    start_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(60), primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    refused: Mapped[int] = mapped_column(BigInteger)
    failed: Mapped[int] = mapped_column(BigInteger)
    took_us: Mapped[int] = mapped_column(BigInteger)
    within_5_ms: Mapped[int] = mapped_column(BigInteger)
    within_10_ms: Mapped[int] = mapped_column(BigInteger)
    within_25_ms: Mapped[int] = mapped_column(BigInteger)
    within_50_ms: Mapped[int] = mapped_column(BigInteger)
    within_100_ms: Mapped[int] = mapped_column(BigInteger)
    within_250_ms: Mapped[int] = mapped_column(BigInteger)
    within_500_ms: Mapped[int] = mapped_column(BigInteger)
    within_1000_ms: Mapped[int] = mapped_column(BigInteger)


class EventRollup(Base):
    """What happened on the platform within a minute, or within an hour: how often, and of how much."""

    __tablename__ = "event_rollups"

    width_s: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    start_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    happened: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)
